"""The settings that a sweep found best for a run, its defaults from then on.

``RUN/recommended.json`` stands in the place of config.json's section ``sample`` wherever the run is
loaded; one of its checkpoints loaded by itself, being other weights, knows nothing of it. A file
that does not fit is ignored with a warning. One measured on earlier weights of the run is used with
a warning: what was best then is likelier to be good now than what was never measured.
"""

from __future__ import annotations

import warnings
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pydantic import PositiveInt, TypeAdapter, ValidationError

from mezzotint.config.sampling import SampleConfig
from mezzotint.errors import UserError
from mezzotint.pipeline import shipped
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.pipeline.summary import in_words
from mezzotint.storage import files
from mezzotint.strict import first_problem, strict

NAME = "recommended.json"


@strict
class Choice:
    """Settings, what they cost, and what they gave: a value and its 95 % interval."""

    settings: SampleConfig
    calls: PositiveInt
    value: float
    interval: tuple[float, float]


@strict
class Recommended:
    """The best within each budget of denoiser calls and of all, and how that was measured."""

    metric: str
    samples: PositiveInt
    seed: int
    precision: str
    digest: str  # of the pipeline as it is loaded, in float32
    budgets: dict[str, Choice]
    best: Choice

    def __str__(self) -> str:
        return f"{in_words(self.best.settings)}: {self.figure}"

    @property
    def figure(self) -> str:
        """What the best settings gave."""
        return f"{self.metric} {self.best.value:.3g} of {self.samples:,} images"


_ADAPTER = TypeAdapter(Recommended)


def write(folder: Path, found: Recommended) -> Path:
    """Write a run's recommended.json, whole or not at all."""
    path = folder / NAME
    files.replace(path, _ADAPTER.dump_json(found, indent=1).decode() + "\n")
    return path


def read(folder: Path) -> Recommended | None:
    """A run's recommendation, or None without one.

    Raises UserError for a file that cannot be read, and for settings that there are none of.
    """
    try:
        return _ADAPTER.validate_json((folder / NAME).read_bytes(), strict=True)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(error.strerror or "it cannot be read") from None
    except ValidationError as error:
        raise UserError(first_problem(error)) from None


def apply(pipe: Pipeline, folder: Path) -> Pipeline:
    """A run's pipeline with the settings recommended for it, if there are any that fit."""
    path = folder / NAME
    try:
        found = read(folder)
        if not found:
            return pipe
        best = found.best.settings
        origin = best, f"recommended by a sweep: {found.figure}"
        fitted = replace(pipe, defaults=best, origin=origin)
        fitted.check()
    except UserError as error:
        warnings.warn(f"{path} is ignored ({error}): sweep again, or delete it", stacklevel=3)
        return pipe
    # Of a shipped model the weights cannot change; a digest varies in a schedule's last bits with
    # the machine that computes it.
    if found.digest != pipe.digest and not shipped.is_shipped(folder):
        warnings.warn(f"{path} was measured on earlier weights: sweep again", stacklevel=3)
    return fitted


def told(pipe: Pipeline, folder: Path) -> str:
    """What was recommended, in words, where a pipeline's defaults are that; else nothing."""
    with suppress(UserError):
        found = read(folder)
        if found and found.best.settings == pipe.defaults:
            return str(found)
    return ""
