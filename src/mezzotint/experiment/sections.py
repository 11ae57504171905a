"""What is configured: the data, the codec, the noise, how pictures are made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from pydantic import ConfigDict, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from pydantic.fields import Field

from mezzotint.noise import SCHEDULES, Schedule, shifted, zero_terminal_snr
from mezzotint.samplers import SAMPLERS

OPTIONS = sorted({name for sampler in SAMPLERS.values() for name in sampler.options})
STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


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


@dataclass(frozen=True, config=STRICT)
class SampleConfig:
    """How pictures are made, in the grids of a training and wherever nothing else is said."""

    sampler: str = "ddim"
    """Sampling method: ddpm, ddim, heun, edm, dpmpp_2m, unipc ...; an unknown one lists them."""
    steps: PositiveInt = 50
    """Denoising steps."""
    spacing: Literal[
        "leading", "trailing", "linspace", "quadratic", "logsnr", "karras", "knots", "optimised"
    ] = "trailing"
    """Which levels the steps visit; optimised measures the model once, and keeps what it found."""
    knots: tuple[PositiveFloat, ...] = ()
    """For the spacing knots: values of sigma / alpha, falling, to go through."""
    guidance: NonNegativeFloat = 1.0
    """Guidance scale: 1 is plain conditional, 0 unconditional."""
    guidance_shape: Literal["constant", "linear", "cosine", "cfg++"] = "constant"
    """How the scale goes along the grid; of cfg++ it is the paper's lambda, 0 to 1."""
    interval: tuple[NonNegativeFloat, PositiveFloat] | None = None
    """Guide only where sigma / alpha is between these two."""
    rescale: float = Field(default=0.0, ge=0, le=1)
    """How far guided pictures are brought back to the contrast of unguided ones."""
    clipping: Literal["none", "static", "dynamic"] = "static"
    """Clipping of the estimated picture, after guidance: to [-1, 1], or to quantiles (dynamic)."""
    eta: float | None = Field(default=None, ge=0, le=1)
    """DDIM's noise: 0 is deterministic, 1 as DDPM."""
    variance: Literal["small", "large", "learned"] | None = None
    """DDPM's variance."""
    order: int | None = Field(default=None, ge=1, le=3)
    """Order of unipc and deis."""
    corrector: Literal["bh1", "bh2"] | None = None
    """UniPC's."""
    churn: NonNegativeFloat | None = None
    """Noise that edm adds as it goes."""
    switch: float | None = Field(default=None, ge=0, le=1)
    """Share of hybrid's steps that are stochastic."""

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise ValueError(
                f"unknown sampler {self.sampler!r}: choose one of {', '.join(SAMPLERS)}"
            )
        for name in self.options():
            takers = [s for s in SAMPLERS if name in SAMPLERS[s].options]
            if self.sampler not in takers:
                raise ValueError(
                    f"{name} is for {', '.join(takers)}: leave it out with {self.sampler}"
                )
        if bool(self.knots) != (self.spacing == "knots"):
            raise ValueError("the spacing knots needs --knots, and no other takes them")
        if self.guidance_shape == "cfg++" and self.guidance > 1:
            raise ValueError(f"guidance is {self.guidance:g}: with cfg++ choose 0 to 1")
        if self.guidance_shape == "cfg++" and self.spacing == "optimised":
            raise ValueError("cfg++ follows the grid: no grid can be optimised for it")
        churned = "churn" in SAMPLERS[self.sampler].options and self.churn != 0
        if self.guidance_shape == "cfg++" and churned:
            raise ValueError("cfg++ follows the grid, which churn leaves: choose --churn 0")
        if self.interval and not self.interval[0] < self.interval[1]:
            raise ValueError(f"interval is {self.interval}: give the lower end first")

    def options(self) -> dict[str, Any]:
        """What was chosen of what a sampler takes besides denoiser, x and grid."""
        chosen = {name: getattr(self, name, None) for name in OPTIONS}
        return {name: value for name, value in chosen.items() if value is not None}

    def guided(self) -> tuple[float, str, tuple[float, float] | None]:
        """The guidance scale, its shape along the grid, and the interval it is held to."""
        return self.guidance, self.guidance_shape, self.interval

    def within(self, calls: int | None) -> SampleConfig:
        """This with the most steps that a budget of denoiser calls allows; None leaves it be.

        Raises UserError for a budget below what the sampler needs.
        """
        return self if calls is None else replace(self, steps=SAMPLERS[self.sampler].steps(calls))


UNGUIDED: dict[str, Any] = {
    name: getattr(SampleConfig(), name)
    for name in ("guidance", "guidance_shape", "interval", "rescale")
}
