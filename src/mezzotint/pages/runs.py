"""The runs that a page shows, and the options of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import NonNegativeInt
from pydantic.fields import Field

from mezzotint import config as configuration
from mezzotint.config.experiment import Configuration
from mezzotint.errors import UserError
from mezzotint.networks.precision import Precision
from mezzotint.storage.log import read as read_log
from mezzotint.strict import strict


@strict
class Options:
    """The options for the samples on a page."""

    samples: int = Field(default=8, gt=0, le=32)
    """Samples for each class, up to 32; at most ten classes are shown. The page also shows about 75
    other samples."""
    seed: NonNegativeInt = 0
    """The noise of sample i depends only on (seed, i)."""
    edits: bool = False
    """Also show edits of some images: variations, inpaintings, enlargements."""
    precision: Precision = "auto"
    """The precision of the networks; auto is bf16 if the hardware supports it."""


@dataclass(frozen=True)
class Run:
    """The content of a run folder, and its name on the page."""

    folder: Path
    name: str
    config: Configuration
    log: list[dict[str, Any]]

    @property
    def about(self) -> str:
        """Describe the recipe, the data and the progress of the training in two sentences."""
        train, seen = self.config.train, self.log[-1]["images"] if self.log else 0
        return (
            f"{self.folder} is a run of the recipe {self.config.recipe} on the data "
            f"{self.config.data.data}. It has seen {seen:,} of {train.images:,} images, in batches "
            f"of {train.batch:,}, with seed {train.seed}."
        )


def read(folder: Path, name: str) -> Run:
    """Read a run folder; raise UserError if the folder is not a run."""
    if not (folder / "config.json").exists():
        raise UserError(f"{folder} is not a run: give a folder that a training wrote")
    config = configuration.read(folder / "config.json")
    return Run(folder, name, config, read_log(folder / "log.jsonl"))


def read_all(folders: Sequence[Path]) -> list[Run]:
    """Read run folders and give each a unique name; raise UserError if one is given twice."""
    resolved = [folder.resolve() for folder in folders]
    for i, folder in enumerate(folders):
        if resolved[i] in resolved[:i]:
            raise UserError(f"{folder} is given twice: give each run once")
    names = [folder.name for folder in resolved]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    return [read(folder, name) for folder, name in zip(folders, names, strict=True)]
