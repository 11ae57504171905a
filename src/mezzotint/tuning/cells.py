"""The cells of a sweep: combinations of settings, and their measured figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal, TypeAlias

from mezzotint.config.sampling import SampleConfig, chosen
from mezzotint.errors import UserError
from mezzotint.metrics import Figure
from mezzotint.pipeline.pipeline import Pipeline

SPACING: Literal["karras"] = "karras"  # other spacings have few steps where there is little noise

Interval: TypeAlias = tuple[float, float] | None


@dataclass(frozen=True)
class SweepCell:
    """One combination of settings in a sweep, and its measured figures.

    Attributes:
        settings: The sampling settings.
        figure: The value of the sweep's metric, with its 95 % interval.
        accuracy: The share of samples that the feature network assigns to their class; None if this
            network does not know the model's classes.
    """

    settings: SampleConfig
    figure: Figure
    accuracy: Figure | None = None

    @property
    def calls(self) -> int:
        """The number of denoiser calls for an image; guidance does not change this number."""
        return self.settings.calls

    @property
    def name(self) -> str:
        """The settings in words: sampler, interval of the guidance, and guidance scale."""
        return f"{self.method}, guidance {self.settings.guidance:g}"

    @property
    def method(self) -> str:
        """The sampler, and the interval of levels in which the samples are guided."""
        interval = self.settings.interval
        return self.settings.sampler + (" on {:g} to {:g}".format(*interval) if interval else "")

    def row(self) -> dict[str, Any]:
        """Return the cell as a flat dictionary."""
        s, figure = self.settings, self.figure
        return {
            "sampler": s.sampler,
            "steps": s.steps,
            "calls": self.calls,
            "guidance": s.guidance,
            "interval": s.interval,
            "metric": figure.name,
            "value": figure.value,
            "low": figure.low,
            "high": figure.high,
            "samples": figure.count,
            "accuracy": self.accuracy.value if self.accuracy else None,
        }


def combinations(
    pipe: Pipeline,
    samplers: Sequence[str],
    guidance: Sequence[float],
    intervals: Sequence[Interval],
    nfe: Sequence[int] = (),
    steps: Sequence[int] = (),
) -> list[SampleConfig]:
    """Return every combination of settings once, in ascending order of denoiser calls.

    Each combination has either a budget of denoiser calls from ``nfe``, or a number of steps from
    ``steps``. The spacing of the levels is "karras", except for a few-step model; all other
    settings are the pipeline's defaults. At guidance scale 1 the interval of the guidance has no
    effect and is left out, unless the guidance shape is cfg++. Raises UserError for settings that
    the model does not support.
    """
    spacing = pipe.defaults.spacing if pipe.few_step else SPACING
    base = replace(pipe.defaults, spacing=spacing, knots=(), interval=None)
    lengths = [*({"nfe": n} for n in nfe), *({"steps": n} for n in steps)]
    plain = 1 if base.guidance_shape != "cfg++" else None  # the scale that does not guide
    found: list[SampleConfig] = []
    for length, sampler, interval, scale in product(lengths, samplers, intervals, guidance):
        changed = {"sampler": sampler, "guidance": scale, **length}
        try:
            settings = chosen(base, {**changed, "interval": None if scale == plain else interval})
            replace(pipe, defaults=settings).check()
        except UserError as error:
            words = " ".join(f"{name} {value}" for name, value in changed.items())
            raise UserError(f"{words}: {error}") from None
        found.append(settings)
    if not found:
        raise UserError(
            "there is nothing to sweep: give a sampler, a guidance scale, and at least one budget "
            "of calls or number of steps"
        )
    return sorted(dict.fromkeys(found), key=lambda settings: settings.calls)
