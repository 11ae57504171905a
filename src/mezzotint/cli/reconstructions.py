"""The verb ``evaluate`` for an autoencoder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from mezzotint import evaluation
from mezzotint.cli.answer import Answer
from mezzotint.cli.flags import parse
from mezzotint.cli.table import AGAINST, Distance, Network, measured, table
from mezzotint.config.sections import SizeField
from mezzotint.drawing.bars import Follower
from mezzotint.errors import arguments_called
from mezzotint.evaluation import Preparation
from mezzotint.metrics.pairs import DISTANCES
from mezzotint.networks.precision import Precision
from mezzotint.pipeline import loading
from mezzotint.processes import join


@dataclass(frozen=True)
class AutoencoderFlags:
    """Measure an autoencoder by its reconstructions.

    By default it is measured on the held-out images of its data set, or on its training images if
    none are held out.
    """

    out: Path
    """The folder for reconstructions.png, and for figures.jsonl, to which the figures are
    appended."""
    against: str = ""
    """The images to reconstruct: a data set, a folder, zip, parquet, .npy or .npz."""
    against_split: str | None = None
    """The split of these images; by default train."""
    against_range: tuple[float, float] | None = None
    """The values of black and white, for arrays and 32-bit images."""
    size: SizeField = None
    """Scale and crop the images to this side in pixels, or to HEIGHTxWIDTH."""
    samples: int | None = None
    """How many images to measure; by default all."""
    network: tuple[Network, ...] = ()
    """Feature networks; by default glyphs for the data set glyphs, else cifar10."""
    metrics: tuple[Distance, ...] = tuple(DISTANCES)
    """Distances besides PSNR, SSIM and KL. fd: Frechet distance, sfd: spatial Frechet distance, kd:
    kernel distance."""
    precision: Precision = "auto"
    """The precision of the autoencoder; auto is bf16 on hardware that computes in it, else
    float32."""
    tile: int = 0
    """Decode tiles of this many latents per side, to save memory; 0 decodes whole images."""


def reconstructions(name: str, rest: list[str]) -> Answer:
    """Return the figures of an autoencoder's reconstructions."""
    run = (Path(name) / "checkpoints").is_dir()
    default = AutoencoderFlags((Path(name) if run else Path()) / "evaluation")
    flags = parse(default, rest, f"mezzotint evaluate {name}")
    share, device = join()
    if share.number:
        return Answer({})
    with Follower("images") as follow, arguments_called(**AGAINST):
        request = evaluation.Request(
            *(flags.network, flags.metrics, flags.out, follow),
            lambda figures: follow.say(table(figures)),
        )
        request.check_out()
        codec = loading.load_codec(name, device, flags.precision)
        codec = replace(codec, tile=flags.tile)
        how = Preparation(flags.against_split, flags.size, flags.against_range)
        images = evaluation.originals(name, flags.against or None, how, flags.samples)
        found, made = evaluation.of_codec(codec, request, images, name=name)
    print(
        f"the scaled latents have the mean {_numbers(made.mean)} and the standard deviation "
        f"{_numbers(made.std)}"
    )
    print(
        f"appended the figures to {flags.out / 'figures.jsonl'}; wrote originals, each above its "
        f"reconstruction, to {found.drawn}"
    )
    latents = {"mean": made.mean.tolist(), "std": made.std.tolist()}
    return measured(found, flags.out, latents=latents)


def _numbers(values: Tensor) -> str:
    return " ".join(f"{value:.3f}" for value in values)
