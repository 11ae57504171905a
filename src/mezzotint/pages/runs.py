"""A run as a page shows it: its folder as read, and how much of it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import NonNegativeInt
from pydantic.fields import Field

from mezzotint import config as configuration
from mezzotint.config.experiment import Configuration
from mezzotint.errors import UserError
from mezzotint.storage.log import read as read_log
from mezzotint.strict import strict

Precision = Literal["float32", "bf16", "auto"]


@strict
class Options:
    """How many of a model's samples a page shows."""

    samples: int = Field(default=8, gt=0, le=32)
    """Samples of each class, up to 32, for up to ten classes; the page shows about 75 others beside
    them."""
    seed: NonNegativeInt = 0
    """Sample i depends on (seed, i) alone."""
    edits: bool = False
    """Also show what editing makes of some images: variations, filled-in parts, enlargements."""
    precision: Precision = "float32"
    """What the networks compute in; auto is bf16 where the hardware has it."""


@dataclass(frozen=True)
class Run:
    """A run folder as read, and its name on the page."""

    folder: Path
    name: str
    config: Configuration
    log: list[dict[str, Any]]

    @property
    def about(self) -> str:
        """Two sentences: what was trained on what, and how far."""
        train, seen = self.config.train, self.log[-1]["images"] if self.log else 0
        return (
            f"{self.folder} is a run of the recipe {self.config.recipe} on the data "
            f"{self.config.data.data}. It has seen {seen:,} of {train.images:,} images, in batches "
            f"of {train.batch:,}, with seed {train.seed}."
        )


def read(folder: Path, name: str) -> Run:
    """Read a run folder; UserError if it is not one."""
    if not (folder / "config.json").exists():
        raise UserError(f"{folder} is not a run: give the folder of a training")
    config = configuration.read(folder / "config.json")
    return Run(folder, name, config, read_log(folder / "log.jsonl"))


def read_all(folders: Sequence[Path]) -> list[Run]:
    """Read run folders, each under a name of its own; UserError for a folder given twice."""
    resolved = [folder.resolve() for folder in folders]
    for i, folder in enumerate(folders):
        if resolved[i] in resolved[:i]:
            raise UserError(f"{folder} is given twice: give each run once")
    names = [folder.name for folder in resolved]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    return [read(folder, name) for folder, name in zip(folders, names, strict=True)]
