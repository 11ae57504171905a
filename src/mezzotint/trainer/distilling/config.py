"""The objective of a few-step model."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from mezzotint.strict import Choice, strict
from mezzotint.trainer.distilling import DISTILLATIONS


@strict
class DistillationConfig:
    """The objective of a few-step model that is distilled from a teacher."""

    teacher: str = ""
    """The model to distil: a run, a checkpoint, or the name of a shipped model."""
    method: Annotated[str, Choice(DISTILLATIONS)] = "trajectory"
    """The method of distillation."""
    calls: PositiveInt = 2
    """The number of network calls with which the student makes an image."""
    scale: NonNegativeFloat = 1.0
    """The guidance scale of the teacher, which the student learns; 1 is no guidance."""
    guided_within: tuple[NonNegativeFloat, PositiveFloat] | None = None
    """Guide the teacher only where sigma / alpha is between these two values; None guides it
    everywhere."""
    teacher_steps: int | None = Field(default=None, ge=2)
    """Steps of the teacher from noise to image; None means the default of the method."""

    def __post_init__(self) -> None:
        if self.guided_within and self.scale == 1:
            raise ValueError(
                "`guided_within` has no effect with the `scale` 1: give another `scale`, or set "
                "`guided_within` to None"
            )
        if self.guided_within and self.guided_within[0] >= self.guided_within[1]:
            low, high = self.guided_within
            raise ValueError(
                f"`guided_within` is {low:g} to {high:g}: give the smaller value first"
            )
        if self.teacher_steps is not None and self.teacher_steps < 2 * self.calls:
            raise ValueError(
                f"`teacher_steps` is {self.teacher_steps}: choose {2 * self.calls} or more, twice "
                "the `calls`"
            )
