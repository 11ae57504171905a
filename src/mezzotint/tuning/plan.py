"""The plan of a sweep: which combinations of settings to measure, and the time that this takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import NonNegativeFloat, NonNegativeInt

from mezzotint import evaluation
from mezzotint.config.file import read
from mezzotint.config.sampling import SampleConfig
from mezzotint.drawing.bars import time_in_words
from mezzotint.errors import UserError, counted
from mezzotint.evaluation.against import Against
from mezzotint.metrics import NETWORKS
from mezzotint.metrics.networks import choose
from mezzotint.networks.precision import Precision, named
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.strict import Choice, strict
from mezzotint.tuning.cells import Interval, SweepCell, combinations
from mezzotint.tuning.search import SIGNS, Search, known, seconds

SAMPLERS = ("ddim", "dpmpp_2m", "dpmpp_2m_sde")
SCALES, NFE = (1.0, 1.5, 3.0), (5, 10, 20)
FEW_SAMPLERS, FEW = ("consistency",), (1, 2, 4)  # for few-step models


@strict
class Options:
    """The options of a sweep; see `sweep`."""

    sampler: tuple[str, ...]
    nfe: tuple[int, ...]
    steps: tuple[int, ...]
    guidance: tuple[float, ...] | None
    interval: tuple[Interval, ...]
    metric: Annotated[str, Choice(SIGNS)]
    network: Annotated[str, Choice(NETWORKS)] | None
    samples: int
    seed: NonNegativeInt
    precision: Precision
    minutes: NonNegativeFloat | None


@dataclass(frozen=True, eq=False)
class Plan:
    """A sweep's combinations of settings, the cells measured before, and the time for the rest."""

    search: Search
    settings: tuple[SampleConfig, ...]
    known: dict[SampleConfig, SweepCell]  # the cells that were measured before
    # Budgets of denoiser calls; () means the calls of the cells themselves.
    budgets: tuple[int, ...]
    against: Against | None = None  # the training set; None if all cells are measured
    seconds: float = 0.0  # the time for the measurements

    @property
    def missing(self) -> list[SampleConfig]:
        """The combinations of settings that must still be measured."""
        return [settings for settings in self.settings if settings not in self.known]

    def __str__(self) -> str:
        cells = _cells(len(self.settings), self.search)
        if not self.missing:
            return f"{cells}, all measured before"
        return f"{cells}, {len(self.missing)} to be measured in about {time_in_words(self.seconds)}"


def planned(folder: Path, pipe: Pipeline, options: Options) -> Plan:
    """Plan a sweep: find the settings measured before, and estimate the time for the others."""
    if options.nfe and options.steps:
        raise UserError("`nfe` and `steps` are both given: give one of them")
    guided = options.guidance not in (None, (1.0,)) or options.interval not in ((), (None,))
    if not pipe.every and guided:
        raise UserError("this model is unconditional: leave out `guidance` and `interval`")
    digest, pipe = pipe.digest, pipe.in_precision(options.precision)
    few, samplers = pipe.few_step, options.sampler
    if few and samplers == SAMPLERS:
        samplers = FEW_SAMPLERS
    usual = ((few.calls,) if few.calls else FEW) if few else NFE
    nfe = options.nfe or (() if options.steps else usual)
    guidable = pipe.every and not few
    scales = (SCALES if guidable else (1.0,)) if options.guidance is None else options.guidance
    intervals = options.interval or (pipe.defaults.interval,)
    settings = combinations(pipe, samplers, scales, intervals, nfe, options.steps)
    network = options.network or choose(read(folder / "config.json").data.data)
    search = Search(
        *(folder, pipe, digest, named(pipe.net.dtype), network),
        *(options.metric, options.samples, options.seed),
    )
    found = known(search, settings)
    plan = Plan(search, tuple(settings), found, nfe)
    if not plan.missing:
        return plan
    against = evaluation.training_set(folder, pipe)
    return replace(plan, against=against, seconds=seconds(search, plan.missing))


def refuse_long(plan: Plan, minutes: float | None) -> None:
    """Raise UserError if a sweep would exceed its time limit."""
    if minutes is not None and plan.seconds > 60 * minutes:
        raise UserError(
            f"{_cells(len(plan.missing), plan.search)} would take about "
            f"{time_in_words(plan.seconds)}, more than `minutes={minutes:g}`: raise that limit, or "
            "sweep fewer settings"
        )


def _cells(count: int, search: Search) -> str:
    return f"{counted(count, 'combination')} of settings ({counted(search.samples, 'sample')} each)"
