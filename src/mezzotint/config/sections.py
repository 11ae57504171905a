"""What is configured: the data, the codec, the noise, how pictures are made."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from pydantic.fields import Field

from mezzotint.config.strict import STRICT
from mezzotint.diffusion.level import Schedule
from mezzotint.diffusion.schedules import SCHEDULES, shifted, zero_terminal_snr


@dataclass(frozen=True, config=STRICT)
class PicturesConfig:
    """What is learned."""

    data: str = "cifar10"
    """glyphs, cifar10, hub:OWNER/NAME, or a path: a folder of (class folders of) pictures, a zip,
    parquet files."""
    size: PositiveInt | None = None
    """Scale and crop pictures to size x size; None takes them as they are, all of one size."""
    flip: bool = True
    """Mirror half of the pictures, anew each time they are seen."""
    skip_bad: bool = False
    """Leave out pictures that cannot be read, instead of stopping."""


@dataclass(frozen=True, config=STRICT)
class DataConfig(PicturesConfig):
    """What a diffusion model learns."""

    conditional: bool = True
    """Tell the network the class."""
    non_leaking: float = Field(default=0.0, ge=0, le=1)
    """Probability of each of EDM's augmentations, of which the network is told."""


@dataclass(frozen=True, config=STRICT)
class AugmentedConfig(PicturesConfig):
    """What an autoencoder learns."""

    augment: tuple[Literal["crop", "colour", "randaugment", "cutmix"], ...] = ()
    """Augmentations besides the mirror, by kornia."""


@dataclass(frozen=True, config=STRICT)
class CodecConfig:
    """What the diffusion runs on: pixels, or an autoencoder's latents."""

    vae: str = ""
    """Learn the latents of this: a run of an autoencoder, its checkpoint, a diffusers folder or
    hub:OWNER/NAME."""
    posterior: Literal["mean", "sample"] = "mean"
    """What is learned of a picture: the mean of its latents, or a sample anew each time."""
    scaling: Literal["measured", "own"] = "measured"
    """Latents to zero mean and unit variance: as measured on this data, or as the autoencoder's
    own checkpoint or folder says."""


@dataclass(frozen=True, config=STRICT)
class NoiseConfig:
    """The noise axis, and what the network predicts on it."""

    schedule: Literal["linear", "scaled_linear", "cosine", "sigmoid", "exponential", "laplace"] = (
        "linear"
    )
    """How the noise grows."""
    s: NonNegativeFloat | None = None
    """The cosine schedule's offset; None is 0.008."""
    zero_terminal_snr: bool = False
    """Rescale the schedule so that its last row is pure noise."""
    shift: PositiveFloat = 1.0
    """Noise for a resolution so many times that for which the schedule was made."""
    timesteps: PositiveInt = 1000
    """T, the length of the schedule."""
    prediction: Literal["eps", "x0", "v", "flow", "edm"] = "eps"
    """What the network is trained to output."""
    learn_variance: bool = False
    """The network predicts the variance of DDPM's steps too (Nichol and Dhariwal 2021)."""

    def __post_init__(self) -> None:
        if self.s is not None and self.schedule != "cosine":
            raise ValueError(f"s is for cosine: leave it out with {self.schedule}")
        if self.zero_terminal_snr and self.prediction == "eps":
            raise ValueError(
                "eps cannot be learned with zero_terminal_snr, where the picture is nothing but "
                "eps: choose the prediction v, x0, flow or edm"
            )
        if self.learn_variance and self.timesteps < 2:
            raise ValueError("learn_variance needs two timesteps: of one there is nothing to learn")

    def build(self) -> Schedule:
        options = {} if self.s is None else {"s": self.s}
        schedule = SCHEDULES[self.schedule](self.timesteps, **options)
        if self.zero_terminal_snr:
            schedule = zero_terminal_snr(schedule)
        return schedule if self.shift == 1 else shifted(schedule, self.shift)
