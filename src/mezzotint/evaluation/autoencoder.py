"""Measure an autoencoder by its reconstructions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from mezzotint import config as configuration
from mezzotint.data import Prepared, held_out
from mezzotint.data.sizes import Size
from mezzotint.drawing import figures
from mezzotint.errors import UserError, unknown
from mezzotint.evaluation.against import Against, Preparation, called, prepared
from mezzotint.evaluation.measuring import measure
from mezzotint.evaluation.reconstruction import Reconstructions, reconstruct
from mezzotint.evaluation.request import Found, Request
from mezzotint.metrics.measure import enough
from mezzotint.metrics.pairs import DISTANCES
from mezzotint.networks.precision import named
from mezzotint.pipeline.codec import Latents
from mezzotint.storage import files
from mezzotint.storage.arrays import nchw

SHOWN = 40  # the number of originals that are drawn with their reconstructions


def of_codec(
    codec: Latents,
    request: Request,
    originals: Against,
    *,
    name: str = "",
) -> tuple[Found, Reconstructions]:
    """Measure an autoencoder by its reconstructions of the images ``originals``.

    Returns a `Found` and the result of `reconstruct`. The `Found` holds the figures, ``originals``
    and the path of the drawing. ``name`` is the autoencoder's name in figures.jsonl.
    """
    images = originals.images
    assert images is not None
    height, width = images.images.shape[1:3]
    device = codec.mean.device
    request.check_out()
    codec = codec.of_size(height, width)
    codec.latent_shape((images.images.shape[3], height, width))  # errors before the work begins
    if (has := str(images.values)) != (needs := str(codec.values)):
        raise UserError(
            f"the images are {has}, but the autoencoder is for {needs}: give images of that type "
            "and range"
        )
    chosen = tuple(DISTANCES) if request.metrics is None else request.metrics
    for metric in chosen:
        if metric not in DISTANCES:
            raise unknown("metric of an autoencoder", metric, DISTANCES)
    networks = request.load(images.classes, device, originals) if chosen else []
    measures = [measure(network, originals, (height, width)) for network in networks]
    made = reconstruct(codec, images, measures, chosen, request.follow)
    facts = {
        "autoencoder": name,
        "digest": codec.digest,
        "originals": originals.name,
        "fingerprint": images.fingerprint,
        "precision": named(codec.vae.dtype),
        "tile": codec.tile,
        "latents": {"mean": made.mean.tolist(), "std": made.std.tolist()},
    }
    request.keep(made.figures, facts)
    return Found(made.figures, originals, _drawn(codec, images, request.out)), made


def originals(path: str | Path | None, data: Any, how: Preparation, count: int | None) -> Against:
    """Return up to ``count`` images to reconstruct, with the name of their data set.

    The images come from ``data``, which is anything that `prepare` takes or returns. If ``data`` is
    None, they are the held-out images of the run or checkpoint at ``path``, or its training images
    if none are held out. Raises UserError if the data cannot be prepared, and for fewer than 10
    images. If ``data`` is None, UserError is also raised if ``path`` is not a run or a checkpoint,
    or if ``how`` has a split or a range.
    """
    if data is None and (how.split, how.range) != (None, None):
        raise UserError("`split` and `range` need `data`: give `data`, or leave out these two")
    if data is None:
        name, found = _held_out(path, how.size)
    else:
        found = prepared(data, how)
        name = called(found)
    if count is not None:
        enough(count)
        found = found.some(count)
    enough(len(found))
    return Against(name, found)


def _held_out(path: str | Path | None, size: Size | None) -> tuple[str, Prepared]:
    """Return a name, such as "DATA (held out)", and the held-out images of a run or checkpoint.

    If no images are held out, the training images are returned, and their name says so. Raises
    UserError if ``path`` is None, or not a run or a checkpoint.
    """
    folder, marks = Path(path or ""), ("checkpoints", "manifest.json")
    if path is None or not any((folder / mark).exists() for mark in marks):
        what = path or "the autoencoder"
        raise UserError(f"{what} does not record its training set: give images as `data`")
    c = configuration.read(folder / "config.json").data
    c = replace(c, size=size or c.size)
    train = c.prepared()
    rest = held_out(train)
    return f"{c.data} ({'split train' if rest is train else 'held out'})", rest


def spread_out(data: Prepared, count: int) -> Tensor:
    """Return up to ``count`` images (n, C, H, W), spread over a data set; see `Prepared.some`."""
    return nchw(data.some(count).images)


def _drawn(codec: Latents, images: Prepared, out: Path | None) -> Path | None:
    """Draw some originals, each above its reconstruction, and return the path of the drawing.

    If ``out`` is None, nothing is drawn, and the result is None.
    """
    if out is None:
        return None
    some, path = spread_out(images, SHOWN), out / "reconstructions.png"
    made = codec.decode(codec.encode(some.to(codec.mean.device))).cpu()
    see = codec.values.visible
    with files.beside(path) as partial:
        figures.pairs(see(some), see(made)).save(partial)
    return path
