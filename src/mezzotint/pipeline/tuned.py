"""The settings that a sweep recommends for a run, which become its defaults.

When a run is loaded, ``RUN/recommended.json`` replaces the section ``sample`` of its config.json.
The file does not apply to a checkpoint that is loaded by its own path, because the settings may
have been measured on another checkpoint. A file that does not fit the run is ignored with a
warning. A file with settings that were measured on earlier weights of the run is used with a
warning, because such settings are a better guess than settings never measured.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pydantic import PositiveInt, TypeAdapter, ValidationError

from mezzotint.config.sampling import SampleConfig
from mezzotint.errors import UserError, warn
from mezzotint.pipeline import shipped
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.pipeline.summary import in_words
from mezzotint.storage import files
from mezzotint.storage.parse import content
from mezzotint.strict import first_problem, strict

NAME = "recommended.json"


@strict
class BestSettings:
    """Settings, their denoiser calls per image, and the metric's value with its 95 % interval."""

    settings: SampleConfig
    calls: PositiveInt
    value: float
    interval: tuple[float, float]


@strict
class Recommended:
    """The best settings, overall and within each budget of denoiser calls."""

    metric: str
    samples: PositiveInt
    seed: int
    precision: str
    digest: str  # the digest of the pipeline after loading, in float32
    budgets: dict[str, BestSettings]
    best: BestSettings

    def __str__(self) -> str:
        return f"{in_words(self.best.settings)}: {self.figure}"

    @property
    def figure(self) -> str:
        """The measured value of the best settings, in words."""
        return f"{self.metric} {self.best.value:.3g} of {self.samples:,} images"


_ADAPTER = TypeAdapter(Recommended)


def write(folder: Path, found: Recommended) -> Path:
    """Write a run's recommended.json atomically, and return the path."""
    path = folder / NAME
    files.replace(path, _ADAPTER.dump_json(found, indent=1).decode() + "\n")
    return path


def read(folder: Path) -> Recommended | None:
    """Read a run's recommended.json; return None if there is none.

    Raises UserError if the file cannot be read, or has settings that do not exist.
    """
    try:
        return _ADAPTER.validate_json(content(folder / NAME), strict=True)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(error.strerror or "it cannot be read") from None
    except ValidationError as error:
        raise UserError(first_problem(error)) from None


def apply(pipe: Pipeline, folder: Path) -> Pipeline:
    """Return a run's pipeline, with the run's recommended settings if there are any that fit."""
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
        warn(f"{path} is ignored ({error}): repeat the sweep, or delete the file")
        return pipe
    # The weights of a shipped model cannot change, but its digest depends on the machine, because
    # the last bits of a computed schedule vary.
    if found.digest != pipe.digest and not shipped.is_shipped(folder):
        warn(f"{path} was measured on earlier weights of the run: repeat the sweep")
    return fitted


def in_use(pipe: Pipeline, folder: Path) -> str:
    """Describe a run's recommended settings if they are the pipeline's defaults; else return ""."""
    with suppress(UserError):
        found = read(folder)
        if found and found.best.settings == pipe.defaults:
            return str(found)
    return ""
