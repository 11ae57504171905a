"""The cells of a sweep: which there are, how long they take, and measuring each of them once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch

from mezzotint import evaluation, metrics
from mezzotint.config.sampling import SampleConfig, chosen
from mezzotint.diffusion.guidance import along
from mezzotint.errors import UserError
from mezzotint.evaluation import samples
from mezzotint.evaluation.measuring import Measure
from mezzotint.evaluation.samples import Follow
from mezzotint.metrics import Figure
from mezzotint.metrics.measure import anything, enough
from mezzotint.metrics.networks import figure_name
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.storage import jsonl
from mezzotint.storage.machine import seconds_of

SPACING: Literal["karras"] = "karras"  # few steps along t leave too few of little noise
BATCH = 64
MORE = ("cs", "accuracy")  # metrics of which more is better

Interval: TypeAlias = tuple[float, float] | None


@dataclass(frozen=True)
class Cell:
    """Settings and what they gave; ``accuracy`` where the classes are the network's own."""

    how: SampleConfig
    figure: Figure
    accuracy: Figure | None = None

    @property
    def calls(self) -> int:
        """Of the denoiser, a picture; a guided one takes the network twice."""
        return self.how.calls


@dataclass(frozen=True, eq=False)
class Sweep:
    """What is swept, and what its cells are measured by."""

    folder: Path  # the run's
    pipe: Pipeline  # in the precision that is measured
    digest: str  # of the pipeline as it was loaded
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
        """The metric's, as figures have it."""
        return self.metric if self.metric == "accuracy" else figure_name(self.metric, self.network)

    @property
    def sign(self) -> int:
        """That makes less of the metric better."""
        return -1 if self.metric in MORE else 1

    def compile_for(self, hows: Sequence[SampleConfig]) -> None:
        """Compile the network if these cells together pay for it."""
        calls = sum(how.calls for how in hows)
        self.pipe.net.compile_for(calls * -(-self.samples // BATCH))

    def facts(self, how: SampleConfig) -> dict[str, Any]:
        """All that a cell's figure depends on: the pictures' key is of weights and settings too."""
        return {
            "pictures": samples.key(self.pipe, how, self.seed, BATCH),
            "network": self.network,
            "metric": self.metric,
            "samples": self.samples,
        }


def settings(
    pipe: Pipeline,
    samplers: Sequence[str],
    guidance: Sequence[float],
    intervals: Sequence[Interval],
    nfe: Sequence[int] = (),
    steps: Sequence[int] = (),
) -> list[SampleConfig]:
    """The cells of every combination, those of few denoiser calls first; what else is the pipe's.

    ``nfe`` are budgets of denoiser calls, ``steps`` go beside or instead. An interval says nothing
    at scale 1, so it is left out there. Raises UserError for what this model cannot do.
    """
    base = replace(pipe.defaults, spacing=SPACING, knots=(), interval=None)
    lengths = [*({"nfe": n} for n in nfe), *({"steps": n} for n in steps)]
    found: list[SampleConfig] = []
    for length, sampler, interval, scale in product(lengths, samplers, intervals, guidance):
        asked = {"sampler": sampler, "guidance": scale, **length}
        try:
            how = chosen(base, {**asked, "interval": None if scale == 1 else interval})
            replace(pipe, defaults=how).check()
        except UserError as error:
            told = " ".join(f"{name} {value}" for name, value in asked.items())
            raise UserError(f"{told}: {error}") from None
        found.append(how)
    if not found:
        raise UserError("there is nothing to sweep: give a sampler, a scale, an interval, a budget")
    return sorted(dict.fromkeys(found), key=lambda how: how.calls)  # each once


def known(sweep: Sweep, hows: Sequence[SampleConfig]) -> dict[SampleConfig, Cell]:
    """The cells that were measured before."""
    found = {}
    for row in jsonl.read(sweep.file):
        with suppress(KeyError, TypeError):  # of another program's rows
            found[_key(row)] = [Figure.read(figure) for figure in row["figures"]]
    asked = {how: _key(sweep.facts(how)) for how in hows}
    return {how: _cell(sweep, how, found[key]) for how, key in asked.items() if key in found}


def _key(facts: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(facts[name] for name in ("pictures", "network", "metric", "samples"))


def _cell(sweep: Sweep, how: SampleConfig, figures: Sequence[Figure]) -> Cell:
    named = {figure.name: figure for figure in figures}
    return Cell(how, named[sweep.name], named.get("accuracy"))


def measure(sweep: Sweep, how: SampleConfig, by: Measure, follow: Follow) -> Cell:
    """Measure a cell, its pictures kept as `evaluate`'s are, and append its row to the file."""
    begun = time.perf_counter()
    folder = evaluation.kept(sweep.pipe, how, sweep.seed, BATCH)
    ((_, figures),) = evaluation.measure_samples(
        *(sweep.pipe, [by], how, [sweep.samples], folder),
        seed=sweep.seed,
        batch=BATCH,
        chosen=(sweep.metric, "accuracy"),
        follow=follow,
    )
    facts = {
        **sweep.facts(how),
        **{name: getattr(sweep, name) for name in ("digest", "precision", "seed")},
        "settings": asdict(how),
        "seconds": round(time.perf_counter() - begun, 2),
    }
    evaluation.record(sweep.file, figures, facts)
    return _cell(sweep, how, figures)


def seconds(sweep: Sweep, hows: Sequence[SampleConfig]) -> float:
    """How long cells will take, by a few timed calls of all that they do most.

    Pictures that are in the cache already are not counted.
    """
    pipe = sweep.pipe
    network = metrics.network(sweep.network, pipe.device)
    x = torch.randn(BATCH, *pipe.shape, device=pipe.device)
    level, labels = pipe.grid(hows[0])[0], pipe.labels(BATCH)
    with torch.inference_mode():
        images = pipe.codec.decode(x).cpu()
        look = seconds_of(lambda: network(images))
        decode = seconds_of(lambda: pipe.codec.decode(x))
        plain = seconds_of(lambda: pipe.denoiser(labels, 1.0)(x, level))
        guided = seconds_of(lambda: pipe.denoiser(labels, 2.0)(x, level)) if pipe.classes else plain
    total, blocks = 0.0, range(-(-sweep.samples // BATCH))
    for how in hows:
        folder, grid = evaluation.kept(pipe, how, sweep.seed, BATCH), pipe.grid(how)
        scale = along(grid, *how.guided())
        scales = [scale(level) if callable(scale) else scale for level in grid[:-1]]
        share = sum(w not in (0, 1) for w in scales) / len(scales)
        missing = sum(not samples.block(folder, i).exists() for i in blocks)
        total += missing * (how.calls * (plain + share * (guided - plain)) + decode)
        total += len(blocks) * look
    return total
