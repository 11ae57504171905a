"""How images are sampled."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt, ValidationError
from pydantic.dataclasses import dataclass
from pydantic.fields import Field

from mezzotint.config.strict import STRICT, first_problem
from mezzotint.diffusion.samplers import SAMPLERS
from mezzotint.errors import UserError, nearest

OPTIONS = sorted({name for sampler in SAMPLERS.values() for name in sampler.options})


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

    @property
    def calls(self) -> int:
        """The denoiser calls that one image takes; guidance does not change their number."""
        return SAMPLERS[self.sampler].cost(self.steps)

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


def chosen(defaults: SampleConfig, changed: dict[str, Any]) -> SampleConfig:
    """Defaults with some fields changed, None leaving one be; ``nfe`` may stand for ``steps``.

    What only the old sampler or spacing took goes, as `freed` has it. Raises UserError for a field
    that there is none of, and for values that cannot be.
    """
    names = list(SampleConfig.__dataclass_fields__)
    changed = dict(changed)
    calls = changed.pop("nfe", None)
    if bad := [name for name in changed if name not in names]:
        raise UserError(f"unknown setting {bad[0]!r}{nearest(bad[0], names)}")
    defaults = freed(defaults, changed.get("sampler"), changed.get("spacing"))
    try:
        how = replace(defaults, **{k: v for k, v in changed.items() if v is not None})
    except ValidationError as error:
        raise UserError(first_problem(error)) from None
    return how.within(calls)


def freed(defaults: SampleConfig, sampler: str | None, spacing: str | None) -> SampleConfig:
    """Defaults that another sampler or spacing can be put into; None asks for no other.

    The options of the old sampler go, and the knots of the old spacing.
    """
    if sampler not in (None, defaults.sampler):
        none: dict[str, Any] = dict.fromkeys(defaults.options())
        defaults = replace(defaults, **none)
    if defaults.knots and spacing not in (None, defaults.spacing):
        defaults = replace(defaults, spacing=SampleConfig.spacing, knots=())
    return defaults
