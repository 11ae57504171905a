"""The verb ``evaluate`` of an autoencoder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from torch import Tensor

from mezzotint import config as configuration
from mezzotint import evaluation
from mezzotint.cli.flags import parse
from mezzotint.cli.table import Following, Network
from mezzotint.drawing import figures
from mezzotint.errors import UserError
from mezzotint.evaluation.against import Against
from mezzotint.evaluation.reconstruction import reconstruct, subjects
from mezzotint.metrics.networks import choose
from mezzotint.pipeline import loading
from mezzotint.run.autoencoder import SHOWN, spread_out
from mezzotint.storage.files import writable

Distance = Literal["fd", "sfd", "kd"]


@dataclass(frozen=True)
class AutoencoderFlags:
    """Measure what an autoencoder gives back of pictures, by default of those that its data set
    holds out."""

    out: Path
    """The folder of figures.jsonl, to which figures are appended, and of reconstructions.png."""
    against: str = ""
    """The pictures: a data set, a folder, zip, parquet, .npy or .npz."""
    against_split: str = "train"
    """The part of them."""
    size: int | None = None
    """Scale and crop pictures to this side."""
    samples: int | None = None
    """How many, from the first on; all where nothing is said."""
    network: tuple[Network, ...] = ()
    """Feature networks; by default the one in the package that suits the classes."""
    metrics: tuple[Distance, ...] = ("fd", "sfd", "kd")
    """Distances besides PSNR, SSIM and KL. fd: Frechet distance, sfd: spatial, kd: kernel
    distance."""
    precision: Literal["float32", "bf16", "auto"] = "float32"
    """What the autoencoder computes in; auto is bf16 where the hardware has it."""
    tile: int = 0
    """Latents a side that are decoded at once, to save memory; 0 is all."""


def reconstructions(name: str, rest: list[str]) -> None:
    """Measure an autoencoder by what it gives back."""
    run = (Path(name) / "checkpoints").is_dir()
    default = AutoencoderFlags((Path(name) if run else Path()) / "evaluation")
    flags = parse(default, rest, f"mezzotint evaluate {name}")
    share, device = evaluation.join()
    if share.number:
        return
    writable(flags.out / "figures.jsonl")
    codec = loading.load_codec(name, device, flags.precision)
    codec = replace(codec, tile=flags.tile)
    against = _originals(name, flags)
    found = against.pictures
    assert found
    height, width = found.images.shape[1:3]
    codec.latent_shape((3, height, width))  # refused before anything is measured
    measures = [
        evaluation.measure(network, against, (height, width), device)
        for network in flags.network or [choose(found.classes)]
    ]
    with Following(len(found.images)) as following:
        made = reconstruct(codec, found, measures, flags.metrics, following.on)
        following.say(made.figures)
    print(f"latents, scaled: mean {_numbers(made.mean)}; standard deviation {_numbers(made.std)}")
    facts = {
        "autoencoder": name,
        "digest": codec.digest,
        "originals": against.name,
        "fingerprint": found.fingerprint,
        "precision": flags.precision,
        "tile": flags.tile,
        "latents": {"mean": made.mean.tolist(), "std": made.std.tolist()},
    }
    evaluation.record(flags.out / "figures.jsonl", made.figures, facts)
    some = spread_out(found, SHOWN)
    picture = flags.out / "reconstructions.png"
    figures.pairs(some, codec.decode(codec.encode(some.to(device))).cpu()).save(picture)
    print(f"kept: {flags.out / 'figures.jsonl'}; each original above what came back: {picture}")


def _originals(name: str, flags: AutoencoderFlags) -> Against:
    """The pictures that are to be given back."""
    folder, size, count = Path(name), flags.size, flags.samples
    if flags.against:
        return subjects(flags.against, size, count, flags.against_split)
    if any((folder / mark).exists() for mark in ("checkpoints", "manifest.json")):
        c = configuration.read(folder / "config.json").data
        return subjects(c.data, size or c.size, count, skip_bad=c.skip_bad)
    raise UserError(f"{name} does not say what it was trained on: say --against what")


def _numbers(values: Tensor) -> str:
    return " ".join(f"{value:.3f}" for value in values)
