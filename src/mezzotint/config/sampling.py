"""The settings for sampling images."""

from __future__ import annotations

import math
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from typing import Annotated, Any

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.fields import Field

from mezzotint.diffusion.guidance import CLIPPINGS, GUIDANCE_SHAPES
from mezzotint.diffusion.samplers import SAMPLERS
from mezzotint.diffusion.samplers.ddpm import VARIANCES
from mezzotint.diffusion.samplers.unipc import CORRECTORS
from mezzotint.diffusion.spacings import KNOTS, OPTIMISED, SPACINGS
from mezzotint.errors import UserError, nearest
from mezzotint.strict import Choice, strict


@strict
class SampleConfig:
    """The settings for sampling.

    A training stores its sampling settings in the model, as the defaults of the model. The
    options of the sampler have the sampler's own defaults.
    """

    sampler: Annotated[str, Choice(SAMPLERS)] = "ddim"
    """Sampling method."""
    steps: PositiveInt = 50
    """Denoising steps."""
    spacing: Annotated[str, Choice(SPACINGS, KNOTS, OPTIMISED)] = "trailing"
    """The levels that the steps visit; optimised measures the model once, and keeps the result."""
    knots: tuple[PositiveFloat, ...] = ()
    """Falling values of sigma / alpha through which the levels pass, if the spacing is knots."""
    guidance: NonNegativeFloat = 1.0
    """Guidance scale: 1 samples the conditional model, 0 the unconditional model."""
    guidance_shape: Annotated[str, Choice(GUIDANCE_SHAPES)] = "constant"
    """How the guidance scale varies with the level. With cfg++ the scale is CFG++'s lambda, 0 to
    1."""
    interval: tuple[NonNegativeFloat, PositiveFloat] | None = None
    """Guide only where sigma / alpha is between these two values."""
    rescale: float = Field(default=0.0, ge=0, le=1)
    """How far guided images return to the contrast of unguided images, 0 to 1."""
    clipping: Annotated[str, Choice(CLIPPINGS)] = "static"
    """Clip the estimated image, after guidance: static to [-1, 1], dynamic to a quantile of its
    values."""
    eta: float | None = Field(default=None, ge=0, le=1)
    """The noise that DDIM adds in each step: 0 adds none, 1 adds as much as DDPM."""
    variance: Annotated[str, Choice(VARIANCES, "learned")] | None = None
    """The variance of DDPM's steps."""
    order: int | None = Field(default=None, ge=1, le=3)
    """The order of the samplers unipc and deis."""
    corrector: Annotated[str, Choice(CORRECTORS)] | None = None
    """The corrector of the sampler unipc."""
    churn: NonNegativeFloat | None = None
    """How much noise the sampler edm adds between steps."""
    switch: float | None = Field(default=None, ge=0, le=1)
    """The share of the steps of the sampler hybrid that are stochastic; these come first."""
    sampler_options: tuple[str, ...] = ()
    """Further options of the sampler as NAME=VALUE, such as low=0.05 for edm."""

    def __post_init__(self) -> None:
        for name in self.keywords():
            takers = [s for s in SAMPLERS if name in SAMPLERS[s].options]
            if takers and self.sampler not in takers:
                raise ValueError(
                    f"`{name}` is for {', '.join(takers)}: leave it out with {self.sampler}"
                )
            SAMPLERS[self.sampler].check(name)
        if bool(self.knots) != (self.spacing == KNOTS):
            raise ValueError(
                '`knots` and `spacing="knots"` belong together: give both or neither of them'
            )
        if self.guidance_shape == "cfg++" and self.guidance > 1:
            raise ValueError(f"`guidance` is {self.guidance:g}: choose 0 to 1 with cfg++")
        if self.guidance_shape == "cfg++" and self.spacing == OPTIMISED:
            raise ValueError(
                'cfg++ does not work with `spacing="optimised"`: choose another `spacing`'
            )
        churned = "churn" in SAMPLERS[self.sampler].options and self.churn != 0
        if self.guidance_shape == "cfg++" and churned:
            raise ValueError(
                "cfg++ needs the exact levels of the grid, but `churn` moves them: choose `churn=0`"
            )
        if self.interval and not self.interval[0] < self.interval[1]:
            raise ValueError(f"`interval` is {self.interval}: give the lower end first")

    def keywords(self) -> dict[str, Any]:
        """Return the options that are not None, as keyword arguments of the sampler."""
        named = {name: getattr(self, name) for name in OPTIONS}
        set_ = {name: value for name, value in named.items() if value is not None}
        known = SAMPLERS[self.sampler].options
        for text in self.sampler_options:
            name, equals, value = text.partition("=")
            if not equals or name in named:
                hint = f"use `{name}` itself" if name in named else "write NAME=VALUE"
                raise ValueError(f"`sampler_options` has {text!r}: {hint}")
            if name in set_:
                raise ValueError(f"`sampler_options` gives {name} twice: give one value")
            set_[name] = value_of(name, value, known[name]) if name in known else value
        return set_

    @property
    def calls(self) -> int:
        """Return the number of denoiser calls for one image; guidance does not change it."""
        return SAMPLERS[self.sampler].cost(self.steps)

    def guided(self) -> tuple[float, str, tuple[float, float] | None]:
        """Return the fields ``guidance``, ``guidance_shape`` and ``interval``."""
        return self.guidance, self.guidance_shape, self.interval

    def within(self, calls: int | None) -> SampleConfig:
        """Return the settings with the most steps that a budget of denoiser calls allows.

        If ``calls`` is None, the steps stay as they are. Raises UserError if the budget is too
        small for the sampler.
        """
        return self if calls is None else replace(self, steps=SAMPLERS[self.sampler].steps(calls))


FIELDS = list(SampleConfig.__dataclass_fields__)
OPTIONS = [name for name in FIELDS if any(name in s.options for s in SAMPLERS.values())]
"""The fields of SampleConfig that are options of built-in samplers."""

UNGUIDED: dict[str, Any] = {
    name: getattr(SampleConfig(), name)
    for name in ("guidance", "guidance_shape", "interval", "rescale")
}
"""The settings that turn guidance off."""


def value_of(name: str, text: str, default: Any) -> Any:
    """Convert the text of an option to the type of its default: str, bool, int or float.

    Raises UserError for other text, and for numbers that are not finite.
    """
    if isinstance(default, str):
        return text
    if isinstance(default, bool) and text in ("True", "False"):
        return text == "True"
    if type(default) in (int, float):
        with suppress(ValueError):
            value = type(default)(text)
            if math.isfinite(value):
                return value
    raise UserError(f"`{name}` is {text!r}: give a value like its default, {default!r}")


def names() -> list[str]:
    """Return the names of all settings: the fields, ``nfe``, and the options of every sampler."""
    options = [name for sampler in SAMPLERS.values() for name in sampler.options]
    return list(dict.fromkeys([*FIELDS, "nfe", *options]))


def chosen(defaults: SampleConfig, changed: dict[str, Any]) -> SampleConfig:
    """Return the defaults with some fields changed; None keeps a field unchanged.

    ``nfe`` may replace ``steps``. Options of the sampler that are not fields may be given by name.
    A new sampler or spacing drops the options of the old sampler or spacing, and guidance 0 drops
    the interval and the shape of the guidance; see `freed`.

    Raises:
        UserError: If there is no such field or option, a value is not allowed, both ``nfe`` and
            ``steps`` are given, or a field of guidance is changed that has no effect at guidance 1.
    """
    changed = {name: value for name, value in changed.items() if value is not None}
    calls = changed.pop("nfe", None)
    if calls is not None and (isinstance(calls, bool) or not hasattr(calls, "__index__")):
        raise UserError(f"`nfe` is {calls!r}: give a whole number of denoiser calls")
    if calls is not None and "steps" in changed:
        raise UserError("`nfe` and `steps` are both given: give one of them")
    defaults = freed(defaults, *map(changed.get, ("sampler", "spacing", "guidance")))
    further = SAMPLERS[changed.get("sampler", defaults.sampler)].options
    own = {name: changed.pop(name) for name in list(changed) if name not in FIELDS}
    if bad := [name for name in own if name not in further]:
        names = [*FIELDS, *further, "nfe", "labels", "condition"]
        hint = nearest(bad[0], names) or f": choose one of {', '.join(dict.fromkeys(names))}"
        raise UserError(f"unknown setting {bad[0]!r}{hint}")
    if own:
        given = changed.get("sampler_options", defaults.sampler_options)
        kept = [text for text in given if text.partition("=")[0] not in own]
        changed["sampler_options"] = (*kept, *(f"{name}={value}" for name, value in own.items()))
    made = replace(defaults, **changed).within(calls)
    check_guided(made, changed)
    return made


def check_guided(how: SampleConfig, given: Collection[str]) -> None:
    """Raise UserError for settings of guidance in ``given`` that have no effect at guidance 1.

    ``how`` are all settings, and ``given`` are the names of those that the user gives. At guidance
    1, only cfg++ and the user's own shapes can guide. Few-step models refuse guidance themselves.
    """
    guides = how.guidance != 1 or how.guidance_shape in ("cfg++", *GUIDANCE_SHAPES.own)
    if guides or SAMPLERS[how.sampler].few_step:
        return
    for name, off in UNGUIDED.items():
        if name in given and getattr(how, name) != off:
            raise UserError(
                f"`{name}` has no effect with `guidance=1`: leave out `{name}`, or give another "
                "`guidance`"
            )


def freed(
    defaults: SampleConfig,
    sampler: str | None,
    spacing: str | None,
    guidance: float | None = None,
) -> SampleConfig:
    """Return the defaults without the options of a sampler or spacing that is replaced.

    ``sampler``, ``spacing`` and ``guidance`` are the new choices; None keeps the choice in
    ``defaults``. A new sampler drops all options of the old sampler, and a new spacing drops
    ``knots``. A new guidance of 0 drops the interval and the shape of the guidance, with which the
    scale would not be 0 at every level.
    """
    if sampler not in (None, defaults.sampler):
        none: dict[str, Any] = dict.fromkeys(OPTIONS)
        defaults = replace(defaults, **none, sampler_options=())
    if defaults.knots and spacing not in (None, defaults.spacing):
        defaults = replace(defaults, spacing=SampleConfig.spacing, knots=())
    if guidance == 0 != defaults.guidance:
        defaults = replace(defaults, interval=None, guidance_shape=SampleConfig.guidance_shape)
    return defaults
