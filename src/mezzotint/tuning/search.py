"""Measure the cells of a sweep, and find the cells that were measured before."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from mezzotint import evaluation, metrics
from mezzotint.config.sampling import SampleConfig
from mezzotint.diffusion.guidance import along
from mezzotint.errors import Registry, UserError
from mezzotint.evaluation import samples
from mezzotint.evaluation.measuring import Measure
from mezzotint.evaluation.samples import Follow
from mezzotint.metrics import Figure
from mezzotint.metrics.measure import anything, enough
from mezzotint.metrics.networks import figure_name
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.storage import jsonl
from mezzotint.storage.machine import seconds_of
from mezzotint.tuning.cells import SweepCell

BATCH = 64
SIGNS: Registry[int] = Registry("metric", {"fd": 1, "sfd": 1, "cs": -1, "kd": 1, "accuracy": -1})
"""The metrics for a sweep: 1 if less is better, -1 if more is better."""


@dataclass(frozen=True, eq=False)
class Search:
    """The model of a run, and how a sweep measures the model's samples."""

    folder: Path  # the folder of the run
    pipe: Pipeline  # in the precision of the measurement
    digest: str  # identifies the weights
    precision: str
    network: str
    metric: str = "fd"
    samples: int = 1_000
    seed: int = 0

    def __post_init__(self) -> None:
        enough(self.samples)
        anything([self.metric], [self.network], self.pipe.classes)

    @property
    def file(self) -> Path:
        return self.folder / "sweep" / "cells.jsonl"

    @property
    def name(self) -> str:
        """The name of the metric's figures, such as "fd-cifar10"."""
        return self.metric if self.metric == "accuracy" else figure_name(self.metric, self.network)

    @property
    def sign(self) -> int:
        return SIGNS[self.metric]

    def compile_for(self, cells: Sequence[SampleConfig]) -> None:
        """Compile the network if ``cells`` need enough network calls to repay the compilation."""
        calls = sum(settings.calls for settings in cells)
        self.pipe.net.compile_for(calls * -(-self.samples // BATCH))

    def facts(self, settings: SampleConfig) -> dict[str, Any]:
        """Return the facts that identify a measurement, for its row in cells.jsonl.

        The facts are a digest of everything on which the samples depend, and the feature network,
        the metric and the number of samples.
        """
        return {
            "pictures": samples.key(self.pipe, settings, self.seed, BATCH),
            "network": self.network,
            "metric": self.metric,
            "samples": self.samples,
        }


def known(search: Search, cells: Sequence[SampleConfig]) -> dict[SampleConfig, SweepCell]:
    """Return {settings: cell} for those of the given settings that were measured before."""
    found = {}
    for row in jsonl.read(search.file):
        with suppress(KeyError, TypeError):  # a row that another program wrote
            figures = [Figure.read(figure) for figure in row["figures"]]
            if any(figure.name == search.name for figure in figures):
                found[_key(row)] = figures
    keys = {settings: _key(search.facts(settings)) for settings in cells}
    return {s: _cell(search, s, found[key]) for s, key in keys.items() if key in found}


def _key(facts: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(facts[name] for name in ("pictures", "network", "metric", "samples"))


def _cell(search: Search, settings: SampleConfig, figures: Sequence[Figure]) -> SweepCell:
    named = {figure.name: figure for figure in figures}
    return SweepCell(settings, named[search.name], named.get("accuracy"))


def measure(search: Search, settings: SampleConfig, by: Measure, follow: Follow) -> SweepCell:
    """Measure and return a cell; its samples are stored, and a row is added to cells.jsonl."""
    begun = time.perf_counter()
    folder = evaluation.kept(search.pipe, settings, search.seed, BATCH)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "accuracy is left out")  # not every model has classes
        ((_, figures),) = evaluation.measure_samples(
            *(search.pipe, [by], settings, [search.samples], folder),
            seed=search.seed,
            batch=BATCH,
            chosen=(search.metric, "accuracy"),
            follow=follow,
        )
    if all(figure.name != search.name for figure in figures):
        raise UserError(
            f"{search.metric} cannot be measured against this training set: choose another `metric`"
        )
    facts = {
        **search.facts(settings),
        **{name: getattr(search, name) for name in ("digest", "precision", "seed")},
        "settings": asdict(settings),
        "seconds": round(time.perf_counter() - begun, 2),
    }
    evaluation.record(search.file, figures, facts)
    return _cell(search, settings, figures)


def seconds(search: Search, cells: Sequence[SampleConfig]) -> float:
    """Return the estimated seconds for measuring cells, after timing a few calls of each network.

    The time to make samples that are already in the cache is not counted.
    """
    pipe = search.pipe
    network = metrics.network(search.network, pipe.device)
    x = torch.randn(BATCH, *pipe.shape, device=pipe.device)
    level, given = pipe.grid(cells[0])[0], pipe.given(BATCH)
    with torch.inference_mode():
        images = pipe.codec.decode(x).cpu()
        look = seconds_of(lambda: network(images))
        decode = seconds_of(lambda: pipe.codec.decode(x))
        plain = seconds_of(lambda: pipe._guided(given, 1.0, 0.0, "static")(x, level))
        guided = plain
        if given and not pipe.few_step:
            guided = seconds_of(lambda: pipe._guided(given, 2.0, 0.0, "static")(x, level))
    total, blocks = 0.0, range(-(-search.samples // BATCH))
    for settings in cells:
        folder = evaluation.kept(pipe, settings, search.seed, BATCH)
        missing = sum(not samples.block(folder, i).exists() for i in blocks)
        call = plain + _share_guided(pipe, settings) * (guided - plain)
        total += missing * (settings.calls * call + decode) + len(blocks) * look
    return total


def _share_guided(pipe: Pipeline, settings: SampleConfig) -> float:
    """Return the share of sampling steps that are guided, and so need two estimates, not one."""
    grid = pipe.grid(settings)
    scale = along(grid, *settings.guided())
    scales = [scale(level) if callable(scale) else scale for level in grid[:-1]]
    return sum(w not in (0, 1) for w in scales) / len(scales)
