"""The options of a reproduction."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import NonNegativeInt, PositiveInt

from mezzotint.metrics import NETWORKS
from mezzotint.storage.files import as_folder
from mezzotint.strict import Choice, strict

Scale = Literal["glyphs", "cifar10", "full"]
Precision = Literal["float32", "bf16", "auto"]


@strict
class Options:
    """Carry out the experiments of arXiv 2412.14422, and write a table and a page of the results.

    Finished work is not repeated: after an interruption, give the same command again.
    """

    scale: Scale = "glyphs"
    """glyphs: minutes, no download; cifar10: hours; full: the paper's own budget, for GPUs."""
    only: tuple[str, ...] = ("A", "B", "C", "D")
    """Which experiments: A to D."""
    out: Path | None = None
    """The folder; by default runs/reproduce-SCALE."""
    data: str = ""
    """Where CIFAR-10 is, or other images for A, B and D; by default as in the recipe."""
    imagenet: str = ""
    """Where the images for C are: 100 classes of ImageNet, as `mezzotint train --data` takes
    them."""
    vae: str = ""
    """An autoencoder for C, as `mezzotint train --vae` takes it, instead of training one."""
    images: PositiveInt | None = None
    """Images that each diffusion model sees (full: 7,808,000 as in the paper; Ho et al. used
    102,400,000)."""
    samples: PositiveInt | None = None
    """Samples for each row."""
    seed: NonNegativeInt = 0
    """Of trainings and samples."""
    network: tuple[Annotated[str, Choice(NETWORKS)], ...] = ()
    """Feature networks that measure; by default the package's own, and inception, for FID, if its
    weights are on this machine. Named here, they are downloaded."""
    precision: Precision = "auto"
    """What samples are made in; auto is bf16 where the hardware has it."""
    hours: float = 24
    """A training that would take longer is left out, and its rows say so."""

    @property
    def folder(self) -> Path:
        return as_folder(self.out or Path("runs") / f"reproduce-{self.scale}")
