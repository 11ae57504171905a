"""Few-step models: the settings that a distilled model allows, and their checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import NonNegativeFloat, PositiveInt

from mezzotint.config.sampling import UNGUIDED, SampleConfig
from mezzotint.diffusion.samplers import SAMPLERS
from mezzotint.diffusion.spacings import OPTIMISED
from mezzotint.errors import UserError, counted
from mezzotint.strict import strict
from mezzotint.trainer.distilling import DISTILLATIONS
from mezzotint.trainer.distilling.config import DistillationConfig

if TYPE_CHECKING:
    from mezzotint.pipeline.pipeline import Pipeline


@strict
class FewStep:
    """The settings for which a few-step model was distilled."""

    guidance: NonNegativeFloat
    """The guidance scale of the teacher that the model has learned."""
    calls: PositiveInt | None = None
    """The only number of calls with which the model can be used; None allows any number."""

    def __str__(self) -> str:
        calls = counted(self.calls, "call") if self.calls else "any number of calls"
        inside = f", with a built-in guidance of {self.guidance:g}" if self.guidance != 1 else ""
        return f"made for {calls}{inside}"


def made_for(objective: object) -> FewStep | None:
    """Return the settings of the few-step model that an objective trains.

    Returns None if the objective does not train a few-step model.
    """
    if not isinstance(objective, DistillationConfig):
        return None
    any_calls = DISTILLATIONS[objective.method].any_calls
    return FewStep(objective.scale, None if any_calls else objective.calls)


def check(pipe: Pipeline, how: SampleConfig) -> None:
    """Raise UserError if a model and the settings ``how`` disagree about few-step sampling.

    A few-step model needs a sampler for few-step models, and other models cannot use such a
    sampler. A few-step model must not be guided, and its grid cannot be optimised. If it has a
    fixed number of calls, the settings must have this number of steps and the spacing "angle".
    """
    few, sampler = pipe.few_step, SAMPLERS[how.sampler]
    if few is None:
        if sampler.few_step:
            raise UserError(
                f"the sampler {how.sampler} is only for few-step models: choose another `sampler`, "
                "or distil the model"
            )
        return
    if not sampler.few_step:
        able = [name for name, entry in SAMPLERS.items() if entry.few_step]
        raise UserError(
            f"the sampler {how.sampler} cannot sample from a few-step model: choose "
            f'`sampler="{able[0]}"`'
        )
    if any(getattr(how, name) != value for name, value in UNGUIDED.items()):
        raise guided(few)
    if how.spacing == OPTIMISED:
        raise UserError(
            "the spacing optimised is only for models that predict the mean of x0, unlike this "
            'few-step model: choose `spacing="angle"`'
        )
    if few.calls and (how.steps, how.spacing) != (few.calls, "angle"):
        raise UserError(
            f"this model was distilled for {counted(few.calls, 'network call')} with the spacing "
            "'angle': leave out `steps` and `spacing`"
        )


def guided(few: FewStep) -> UserError:
    """Return the UserError that says that a few-step model cannot be guided."""
    inside = (
        f"has a built-in guidance of {few.guidance:g}" if few.guidance != 1 else "cannot be guided"
    )
    return UserError(
        f"this few-step model {inside}: leave out the options of guidance, such as `guidance`"
    )


def refuse(pipe: Pipeline, what: str) -> None:
    """Raise UserError if the model is a few-step model, which does not predict the mean of x0.

    ``what`` names the work that needs this mean.
    """
    if pipe.few_step:
        raise UserError(
            f"{what} needs the mean of x0 at each level, which a few-step model does not predict: "
            "give the model that it was distilled from"
        )
