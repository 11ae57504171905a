"""Requests for samples: one or several columns of images, each with its own settings."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from mezzotint.config.sampling import SampleConfig, chosen
from mezzotint.diffusion.level import Level
from mezzotint.errors import UserError
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.pipeline.summary import in_words
from mezzotint.ui import conditions

MOST = 64  # limit on the images of a request, which are made in one batch
WIDEST = 8  # limit on the columns of a row
OFTEN = 0.2  # seconds between two decoded estimates


@dataclass(frozen=True)
class Column:
    """A column of images: its caption, its file name, and its settings that are not defaults."""

    caption: str
    name: str
    settings: dict[str, Any]


@dataclass(frozen=True)
class Samples:
    """A request for samples, in columns that differ in their settings.

    Image i of every column has the same noise and class.
    """

    n: int
    classes: tuple[int, ...]
    seed: int
    columns: tuple[Column, ...]
    condition: tuple[str, ...] = ()  # words such as age=30

    @property
    def labels(self) -> int | list[int] | None:
        """The labels for `Pipeline.sample`: the chosen classes in turn, or None."""
        if len(self.classes) < 2:
            return self.classes[0] if self.classes else None
        return [self.classes[i % len(self.classes)] for i in range(self.n)]


@dataclass(frozen=True)
class Step:
    """The progress of the work: denoiser calls, and the newest images of each column."""

    done: int
    calls: int
    columns: tuple[Tensor, ...] = ()


def one(defaults: SampleConfig, settings: dict[str, Any]) -> tuple[Column, ...]:
    """Return one column, with the given settings that differ from the defaults."""
    kept = changed(defaults, settings)
    return (Column(in_words(chosen(defaults, kept)), "samples", kept),)


def two(defaults: SampleConfig, a: dict[str, Any], b: dict[str, Any]) -> tuple[Column, ...]:
    """Return two columns, A and B, for two sets of settings to compare."""
    found = [one(defaults, settings)[0] for settings in (a, b)]
    return tuple(
        replace(column, caption=f"{name}: {column.caption}", name=name)
        for name, column in zip(("A", "B"), found, strict=True)
    )


def row(
    defaults: SampleConfig, settings: dict[str, Any], through: str, values: str
) -> tuple[Column, ...]:
    """Return a `Column` for each of several guidance scales or numbers of steps.

    Args:
        defaults: The model's default settings.
        settings: The other settings.
        through: The setting to vary, "guidance" or "steps".
        values: The values as text, such as "0, 1, 2.5".

    Raises:
        UserError: If the values are not numbers, or if there are too few or too many.
    """
    kind: type = {"guidance": float, "steps": int}[through]
    words = values.replace(",", " ").split()
    if not 2 <= len(words) <= WIDEST:
        raise UserError(f"there are {len(words)} values of {through}: give 2 to {WIDEST}")
    try:
        numbers = [kind(word) for word in words]
    except ValueError:
        raise UserError(
            f"the values of {through} are {values!r}: give numbers, such as 1, 2, 4"
        ) from None
    return tuple(
        Column(f"{through} {number:g}", f"{through}-{number:g}", kept)
        for number in numbers
        for kept in [changed(defaults, {**settings, through: number})]
    )


def changed(defaults: SampleConfig, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that are not None and differ from the defaults."""
    return {
        name: value
        for name, value in settings.items()
        if value is not None and value != getattr(defaults, name)
    }


def make(pipe: Pipeline, request: Samples, emit: Callable[[Step], None]) -> Step:
    """Make samples, and call ``emit`` with the progress (a `Step`) after each denoiser call.

    Until a column is finished, the `Step` holds estimates of its images, which are renewed at most
    once in `OFTEN` seconds.

    Returns:
        The last `Step`, with the samples.

    Raises:
        UserError: If there are too many images, or the model does not support the settings or
            conditions.
    """
    if request.n > MOST:
        raise UserError(f"`n` is {request.n}: make at most {MOST} images at a time")
    plans = [chosen(pipe.defaults, column.settings) for column in request.columns]
    for plan in plans:
        replace(pipe, defaults=plan).check()
    condition = conditions.values(pipe, request.condition)
    calls, done, looked = sum(plan.calls for plan in plans), 0, 0.0
    ready: list[Tensor] = []
    newest: tuple[Tensor, ...] = ()

    def estimate(first: int, level: Level, x: Tensor, x0: Tensor) -> None:
        nonlocal done, looked, newest
        done += 1
        if time.monotonic() - looked > OFTEN:
            newest = (*ready, pipe.codec.decode(x0).cpu())
            looked = time.monotonic()
        emit(Step(done, calls, newest))

    for column in request.columns:
        made = pipe.sample(
            *(request.n, request.labels),
            condition=condition,
            seed=request.seed,
            batch=MOST,
            on_estimate=estimate,
            **column.settings,
        )
        ready.append(made)
    return Step(calls, calls, tuple(ready))
