"""The verb ``sweep``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from mezzotint import evaluation, tuning
from mezzotint.cli.answer import Answer
from mezzotint.cli.flags import parse, subject
from mezzotint.drawing.bars import Follower
from mezzotint.errors import UserError
from mezzotint.metrics import NETWORKS
from mezzotint.networks.precision import Precision
from mezzotint.strict import Choice
from mezzotint.tuning.cells import Interval
from mezzotint.tuning.plan import SAMPLERS
from mezzotint.tuning.search import SIGNS


@dataclass(frozen=True)
class SweepFlags:
    """Measure a run's samples with every combination of some settings, and keep the best settings.

    The best settings become the run's defaults. Combinations that were measured before are skipped.
    """

    guidance: tuple[float, ...] = ()
    """Guidance scales; by default 1, 1.5 and 3, or only 1 for a model without classes."""
    interval: tuple[str, ...] = ()
    """The interval in which to guide: none, or two values of sigma / alpha such as 0.2,5; by
    default the interval in the run's configuration."""
    sampler: tuple[str, ...] = SAMPLERS
    """Sampling methods."""
    nfe: tuple[int, ...] = ()
    """Budgets of denoiser calls for an image; by default 5, 10 and 20."""
    steps: tuple[int, ...] = ()
    """Numbers of steps, instead of --nfe."""
    metric: Annotated[str, Choice(SIGNS)] = "fd"
    """fd: Frechet distance, sfd: spatial Frechet distance, cs: classifier score, kd: kernel
    distance, accuracy."""
    network: Annotated[str, Choice(NETWORKS)] | None = None
    """Feature network; by default glyphs for the data set glyphs, else cifar10."""
    samples: str = "1000"
    """Samples for each combination of settings: a number, 1k, 5k ..."""
    seed: int = 0
    """The seed; the noise of sample i depends only on the seed and i."""
    precision: Precision = "auto"
    """The precision of the model; auto is bf16 on hardware that computes in it, else float32."""
    minutes: float = 60
    """The longest time that a sweep may take, in minutes. A sweep that would take longer is not
    started."""
    yes: bool = False
    """Start the sweep even if it would take longer than --minutes."""


def sweep(arguments: list[str]) -> Answer:
    """Sweep a run's sampling settings; return all cells, the best cells and the files' paths."""
    name, rest = subject(arguments, "a run", "mezzotint sweep RUN", SweepFlags())
    flags = parse(SweepFlags(), rest, f"mezzotint sweep {name}")
    with Follower("samples") as follow:
        found = tuning.sweep(
            Path(name),
            **_defined(guidance=flags.guidance, interval=tuple(map(_interval, flags.interval))),
            sampler=flags.sampler,
            nfe=flags.nfe,
            steps=flags.steps,
            metric=flags.metric,
            network=flags.network,
            samples=evaluation.tiers(flags.samples)[-1],
            seed=flags.seed,
            precision=flags.precision,
            minutes=None if flags.yes else flags.minutes,
            on_message=follow.say,
            on_progress=follow,
        )
    print("\n".join(found.summary()))
    print(f"wrote the table and its charts to {found.page}")
    print(f"wrote the best settings, now the run's defaults, to {found.recommended}")
    return Answer(
        {
            "cells": found.rows(),
            "best": found.best.row(),
            "budgets": {calls: cell.row() for calls, cell in found.budgets.items()},
            "page": found.page,
            "recommended": found.recommended,
        }
    )


def _defined(**flags: Any) -> dict[str, Any]:
    """Return {name: value} for the flags that have a value."""
    return {name: value for name, value in flags.items() if value}


def _interval(text: str) -> Interval:
    if text == "none":
        return None
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        raise UserError(
            f"`interval` is {text!r}: give the word none, or two values of sigma / alpha such "
            "as 0.2,5"
        ) from None
    return low, high
