"""The sections of a configuration: the data, the codec and the noise."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.fields import Field

from mezzotint.data.augment import AUGMENTATIONS
from mezzotint.diffusion.level import Level, Schedule
from mezzotint.diffusion.prediction import PREDICTIONS, determinant
from mezzotint.diffusion.schedules import SCHEDULES, shifted, zero_terminal_snr
from mezzotint.errors import UserError
from mezzotint.strict import Choice, strict

PURE_NOISE = Level(0.0, 0.0, 1.0)


@strict
class ImagesConfig:
    """The images to learn."""

    data: str = "cifar10"
    """glyphs, cifar10, hub:OWNER/NAME, or a path: a folder of (class folders of) images, a zip, a
    tar, parquet files ... `mezzotint data PATH` says what is understood."""
    size: PositiveInt | None = None
    """Scale and crop the images to size x size; None leaves them as they are, all of one size."""
    flip: bool = True
    """Mirror half of the images, drawn again in each epoch."""
    skip_bad: bool = False
    """Leave out images that cannot be read, instead of stopping."""


@strict
class DataConfig(ImagesConfig):
    """The images that a diffusion model learns."""

    conditional: bool = True
    """Condition the network on the class."""
    non_leaking: float = Field(default=0.0, ge=0, le=1)
    """Probability of each of EDM's augmentations, which the network gets as a condition."""


@strict
class AugmentedConfig(ImagesConfig):
    """The images that an autoencoder learns."""

    conditional: ClassVar[bool] = False  # it asks for no labels
    augment: tuple[Annotated[str, Choice(AUGMENTATIONS)], ...] = ()
    """Augmentations besides the mirror, by kornia."""


@strict
class CodecConfig:
    """Where the diffusion runs: in pixels, or in the latents of an autoencoder."""

    vae: str = ""
    """Learn the latents of this autoencoder: a run, its checkpoint, a diffusers folder or
    hub:OWNER/NAME. Empty: learn pixels."""
    posterior: Literal["mean", "sample"] = "mean"
    """Which latents of an image are learned: their mean, or a new sample each time."""
    scaling: Literal["measured", "own"] = "measured"
    """Scale latents to zero mean and unit variance: as measured on this data, or by the numbers in
    the autoencoder's own checkpoint or folder."""


@strict
class NoiseConfig:
    """The noise axis, and what the network predicts on it."""

    schedule: Annotated[str, Choice(SCHEDULES)] = "linear"
    """How the noise grows."""
    s: NonNegativeFloat | None = None
    """The cosine schedule's offset; None is 0.008."""
    zero_terminal_snr: bool = False
    """Rescale the schedule so that its last row is pure noise."""
    shift: PositiveFloat = 1.0
    """Shift the noise for a resolution so many times the schedule's own."""
    timesteps: PositiveInt = 1000
    """T, the length of the schedule."""
    prediction: Annotated[str, Choice(PREDICTIONS)] = "eps"
    """What the network is trained to output."""
    learn_variance: bool = False
    """The network predicts the variance of DDPM's steps too (Nichol and Dhariwal 2021)."""

    def __post_init__(self) -> None:
        takers = [name for name, make in SCHEDULES.items() if _takes_s(make)]
        if self.s is not None and self.schedule not in takers:
            raise ValueError(f"`s` is for {', '.join(takers)}: leave it out with {self.schedule}")
        if self.zero_terminal_snr and not determinant(self.prediction, PURE_NOISE):
            able = [name for name in PREDICTIONS if determinant(name, PURE_NOISE)]
            raise ValueError(
                f"{self.prediction} cannot be learned with `zero_terminal_snr`, whose last row is "
                f"pure noise: choose the `prediction` {', '.join(able[:-1])} or {able[-1]}"
            )
        if self.learn_variance and self.timesteps < 2:
            raise ValueError(
                "`learn_variance` needs two `timesteps` or more: one has no variance to learn"
            )

    def build(self) -> Schedule:
        """Make the schedule. Raises UserError if it has another length than ``timesteps``."""
        options = {} if self.s is None else {"s": self.s}
        schedule = SCHEDULES[self.schedule](self.timesteps, **options)
        if len(schedule) != self.timesteps:
            raise UserError(
                f"the schedule {self.schedule!r} has {len(schedule)} rows for {self.timesteps} "
                "timesteps: its function must return T + 1 rows"
            )
        if self.zero_terminal_snr:
            schedule = zero_terminal_snr(schedule)
        return schedule if self.shift == 1 else shifted(schedule, self.shift)


def _takes_s(make: Callable[..., Schedule]) -> bool:
    return "s" in inspect.signature(make).parameters
