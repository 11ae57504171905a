"""The options of a reproduction."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import NonNegativeInt, PositiveInt

from mezzotint.metrics import NETWORKS
from mezzotint.networks.precision import Precision
from mezzotint.storage.files import as_folder
from mezzotint.strict import Choice, strict

Scale = Literal["glyphs", "cifar10", "full"]


@strict
class Options:
    """Carry out the experiments of arXiv 2412.14422, and write a table and a page of the results.

    Finished work is not repeated. After an interruption, repeat the command.
    """

    scale: Scale = "glyphs"
    """glyphs: minutes, no download; cifar10: a day on two cores; full: the paper's own budget, for
    GPUs."""
    only: tuple[str, ...] = ("A", "B", "C", "D")
    """The experiments to carry out, among A to D."""
    out: Path | None = None
    """The folder of the results; by default runs/reproduce-SCALE."""
    data: str = ""
    """The path of CIFAR-10, or of other images for A, B and D; by default the recipe's data."""
    imagenet: str = ""
    """The images for C: 100 classes of ImageNet, as in `mezzotint train --data`."""
    vae: str = ""
    """An autoencoder for C, as in `mezzotint train --vae`, instead of a new autoencoder."""
    images: PositiveInt | None = None
    """The length of each diffusion model's training, in images seen; by default the scale decides.
    The scale full has 7,808,000, as in the paper. Ho et al. used 102,400,000."""
    samples: PositiveInt | None = None
    """The number of samples for each row of the table; by default the scale decides. At the scale
    cifar10, rows with 1,000 denoiser calls have fewer samples than other rows."""
    seed: NonNegativeInt = 0
    """The seed of trainings and samples."""
    network: tuple[Annotated[str, Choice(NETWORKS)], ...] = ()
    """Feature networks. By default: glyphs for the data set glyphs, else cifar10; also imagenet for
    C, and inception (for FID), if their weights are on this machine. Weights of networks that you
    name are downloaded."""
    precision: Precision = "auto"
    """The precision of sampling; auto is bf16 if the hardware supports it."""
    hours: float = 24
    """The time limit of a training, in hours. Longer trainings are left out; the table says so."""

    @property
    def folder(self) -> Path:
        return as_folder(self.out or Path("runs") / f"reproduce-{self.scale}")
