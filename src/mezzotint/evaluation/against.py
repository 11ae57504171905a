"""What images are measured against."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from mezzotint import data
from mezzotint.config.file import read as read_config
from mezzotint.data import Prepared
from mezzotint.errors import UserError
from mezzotint.pipeline import shipped
from mezzotint.pipeline.pipeline import Pipeline


@dataclass(frozen=True, eq=False)
class Against:
    """What pictures are measured against: a data set by name, or by its path a reference's file."""

    name: str
    pictures: Prepared | None = None


def against(source: str, split: str, size: int | None) -> Against:
    """What the user wrote as what to measure against: a data set, pictures or a reference."""
    if source.endswith(".safetensors"):
        return Against(source)
    return Against(f"{source} {split}", pictures(source, split, size))


def training_set(folder: Path, pipe: Pipeline) -> Against:
    """What a run or a checkpoint was trained on, un-augmented.

    Raises UserError for a model that does not say, and where the data has changed since; for a
    model that came with the package, whose user may have a copy in another order, it warns.
    """
    if pipe.data is None:
        raise UserError(f"{folder} does not say what it was trained on: say --against what")
    c = read_config(folder / "config.json").data
    found = data.prepare(c.data, size=c.size, skip_bad=c.skip_bad)
    if found.fingerprint != pipe.data:
        told = (
            f"{c.data} is not what {folder} was trained on (SHA-256 {found.fingerprint[:12]}, then "
            f"{pipe.data[:12]})"
        )
        if not shipped.is_shipped(folder):
            raise UserError(f"{told}: give the same data, or say --against what")
        warnings.warn(f"{told}: no matter if it is the same in another order", stacklevel=2)
    return Against(f"{c.data} train", found)


def pictures(source: str, split: str, size: int | None) -> Prepared:
    """A set of pictures to measure or to measure against, as `data.prepare` has it.

    Warns of JPEG files: their artefacts are in the features, and no diffusion model draws them.
    """
    found = data.prepare(source, size=size, split=split)
    if jpegs := data.jpegs(source, split):
        warnings.warn(
            f"{jpegs:,} of the pictures in {source} are JPEG files: their artefacts bias FID and "
            "every other figure; save pictures to be measured as PNG",
            stacklevel=2,
        )
    return found
