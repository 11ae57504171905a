"""The public functions of this package: `evaluate`, `compare` and `fid`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mezzotint.config import sampling
from mezzotint.data import Prepared, prepare
from mezzotint.data.memory import Layout
from mezzotint.data.sizes import Size
from mezzotint.data.values import Bounds
from mezzotint.errors import UserError, arguments_called, nearest
from mezzotint.evaluation.against import Against, Preparation, called, images_of
from mezzotint.evaluation.autoencoder import of_codec, originals
from mezzotint.evaluation.images import of_images
from mezzotint.evaluation.model import of_model
from mezzotint.evaluation.record import number_of
from mezzotint.evaluation.request import Request, by_name, whole
from mezzotint.evaluation.samples import Follow
from mezzotint.metrics import Figure
from mezzotint.metrics.networks import figure_name
from mezzotint.networks.precision import compute_dtype
from mezzotint.pipeline.codec import Latents
from mezzotint.pipeline.loading import is_autoencoder, load, load_codec
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.processes import join


def evaluate(
    pipe: Pipeline | Latents | str | Path,
    data: Any = None,
    *,
    samples: int | str | None = None,
    network: str | Sequence[str] | None = None,
    metrics: str | Sequence[str] | None = None,
    split: str | None = None,
    size: Size | None = None,
    range: Bounds | None = None,
    seed: int = 0,
    batch: int = 64,
    weaker: Pipeline | str | Path | None = None,
    precision: str | None = None,
    out: str | Path | None = None,
    on_progress: Follow | None = None,
    **settings: Any,
) -> dict[str, Figure]:
    """Measure a model by its samples, or an autoencoder by its reconstructions.

    A model makes samples of all its classes in turn. A network computes features of the samples and
    of the data, and the metrics compare these features. The noise of sample i depends only on
    (seed, i). The samples are kept in the cache, so another measurement of the same model and
    settings makes only the missing samples. Under torchrun, all processes make samples, the first
    process measures them, and the other processes return ``{}``.

    An autoencoder is measured by the distances ``fd``, ``sfd`` and ``kd`` of its reconstructions
    from the originals, by ``psnr`` in dB, and by ``ssim``. The figure ``kl`` is the divergence of
    the posterior from N(0, I), in nats per image.

    Args:
        pipe: A model or an autoencoder, or a path or name that `load` or `load_codec` takes.
        data: The reference: anything that `prepare` takes or returns, or the file of a reference.
            By default it is the model's training set. For an autoencoder, ``data`` are the images
            to reconstruct, by default the held-out images of its data set.
        samples: The number of samples of a model, by default 10,000; or the number of images that
            an autoencoder reconstructs, by default all. It may be text such as "10k".
        network: A feature network, or several: ``cifar10``, ``glyphs``, ``inception`` ... By
            default it is the network of the file if ``data`` is the file of a reference
            (``inception`` for a .npz file), ``glyphs`` for the data set glyphs, and ``cifar10`` for
            all other data.
        metrics: The names of metrics in METRICS; by default all of them.
        split: The split, if ``data`` is a name or a path.
        size: The size to scale and crop ``data`` to, if it is not prepared, as in `prepare`. By
            default the size of a model's samples; an autoencoder's originals keep their own size.
        range: The values of black and white in ``data``, if it is not prepared, as in `prepare`.
        seed: The seed of the samples, 0 or more.
        batch: The number of samples made at once.
        weaker: A weaker model, whose estimate replaces the unconditional estimate: guidance leads
            away from the estimate of the weaker model.
        precision: The precision of the model: "float32", "bf16" or "auto". By default the precision
            in which it was loaded.
        out: A folder. The figures are appended to its figures.jsonl. Some measured images are drawn
            there too, but not if ``data`` is the file of a reference. By default nothing is
            written.
        on_progress: Called with the name of the current work, the amount done, and the total.
        **settings: The fields of SampleConfig that differ from the model's defaults, such as
            ``sampler``, ``steps`` and ``guidance``. ``nfe`` may be given instead of ``steps``.

    Returns:
        The figures by name: ``fd-cifar10`` (``fid`` with Inception), ``precision`` ... If two
        networks give a figure of the same name, the name of the network is appended.

    Raises:
        UserError: If an argument is not valid, the model or the data cannot be read, ``data`` is
            missing and the training set is unknown or has changed, the weights of a feature network
            are not available, there are too few images for even one of the metrics, or ``out``
            cannot be written. If possible, the error is raised before the work begins.
    """
    if wrong := [name for name in settings if name not in sampling.names()]:
        every = [*sampling.names(), *(evaluate.__kwdefaults__ or ())]
        hint = nearest(wrong[0], every) or f": choose one of {', '.join(every)}"
        raise UserError(f"unknown keyword {wrong[0]!r}{hint}")
    asked = Request.of(network, metrics, out, on_progress)
    count = None if samples is None else number_of(samples)
    seed, batch = whole("seed", seed, 0), whole("batch", batch, 1)
    if not isinstance(weaker, Pipeline | str | Path | None):
        kind = type(weaker).__name__
        raise UserError(f"`weaker` is of type {kind}: give a pipeline, a path or a name")
    preparation = Preparation(split, size, range)
    share, device = join()
    with share.first():  # because it may download
        subject = _opened(pipe, device, precision or "auto")
    name = "" if isinstance(pipe, Pipeline | Latents) else str(pipe)
    if isinstance(subject, Pipeline):
        found = of_model(
            *(subject, asked, data),
            preparation=preparation,
            counts=[10_000 if count is None else count],
            name=name,
            seed=seed,
            batch=batch,
            weaker=weaker,
            precision=precision,
            settings=settings,
        )
        return by_name(found.figures)
    named = {"seed": seed != 0, "batch": batch != 64, "weaker": weaker is not None}
    if foreign := [*settings, *(key for key, given in named.items() if given)]:
        raise UserError(f"`{foreign[0]}` does not apply to an autoencoder: leave it out")
    if share.number:
        return {}
    if precision:
        subject = subject.in_precision(compute_dtype(precision, subject.mean.device))
    to = originals(name or None, data, preparation, count)
    return by_name(of_codec(subject, asked, to, name=name)[0].figures)


def compare(
    images_a: Any,
    images_b: Any,
    *,
    labels: Any = None,
    classes: Sequence[str] | None = None,
    layout: Layout | None = None,
    range: Bounds | None = None,
    network: str | Sequence[str] | None = None,
    metrics: str | Sequence[str] | None = None,
    out: str | Path | None = None,
    on_progress: Follow | None = None,
) -> dict[str, Figure]:
    """Measure images against other images, in the features of a network.

    Each set is anything that `prepare` takes or returns: a name, a path, an array, a tensor or
    prepared data. Arrays and tensors are (N, H, W, C) or (N, C, H, W), of uint8, or of float with
    their ``range``. ``images_b`` may also be the file of a reference. Grey images are measured as
    RGB with three equal channels, and values that are not 8-bit are scaled to 8 bits; both cause a
    warning. The features of ``images_b`` are kept in the cache.

    Args:
        images_a: The images to measure, such as a model's samples.
        images_b: The images to compare them with, such as a test set.
        labels: The classes (N,) that the images were made for, if ``images_a`` is an array.
        classes: The names of the classes, if there are labels.
        layout: The order of the axes of arrays, as in `prepare`. Like ``range``, it applies to both
            sets. If the sets differ in layout or range, prepare each set with `prepare` first.
        range: The values of black and white of arrays, as in `prepare`.
        network: A feature network, or several: ``cifar10``, ``glyphs``, ``inception`` ... The
            default is the network that `evaluate` would use for ``images_b`` as ``data``.
        metrics: The names of metrics in METRICS; by default all of them. ``accuracy`` is included
            if the classes are known and the network distinguishes them.
        out: A folder. The figures are appended to its figures.jsonl. The first ten of ``images_a``
            are drawn there beside their nearest neighbours in ``images_b``, but not if ``images_b``
            is the file of a reference. By default nothing is written.
        on_progress: Called with the name of the current work, the amount done, and the total.

    Returns:
        The figures by name, as from `evaluate`.

    Raises:
        UserError: If `prepare` refuses the images, there are too few images for even one of the
            metrics, the sizes differ, a network or metric is unknown, weights are not available,
            ``out`` cannot be written, or ``layout`` or ``range`` is given without an array.
    """
    asked = Request.of(network, metrics, out, on_progress)
    if (layout, range) != (None, None) and not any(map(_in_memory, (images_a, images_b))):
        raise UserError(
            "`layout` and `range` apply only to arrays in memory: for images from a path, pass the "
            "result of a call such as mz.prepare(path, range=(0, 1))"
        )
    a = _images("images_a", images_a, labels, classes, layout=layout, range=range)
    b = _against("images_b", images_b, layout=layout, range=range)
    if b.images is not None and (sizes := (_size(a), _size(b.images)))[0] != sizes[1]:
        raise UserError(
            f"`images_a` are of {sizes[0]} and `images_b` of {sizes[1]} (height x width): scale "
            "them to the same size, for example by mz.prepare(images, size=32)"
        )
    return by_name(of_images(a, asked, b).figures)


def fid(
    images_a: Any,
    images_b: Any,
    *,
    layout: Layout | None = None,
    range: Bounds | None = None,
    network: str = "inception",
    on_progress: Follow | None = None,
) -> Figure:
    """Return the Frechet inception distance of two sets of images (arXiv 1706.08500).

    It is the `frechet_distance` of the features of the two sets. The number of images biases the
    distance, so compare only values for the same number of images, usually 50,000. The weights of
    the Inception network of 2015-12-05 are downloaded once, or read from the file that
    $MEZZOTINT_INCEPTION names. The network ``inception-pytorch-fid`` resizes images as the package
    pytorch-fid does. With any other network the distance is not an FID, and its name contains the
    name of the network: ``fid(a, b, network="cifar10").name`` is ``fd-cifar10``.

    Args:
        images_a: The images to measure, in any form that `compare` takes.
        images_b: The images to compare them with.
        layout: The order of the axes of arrays, as in `compare`.
        range: The values of black and white of arrays, as in `compare`.
        network: The feature network.
        on_progress: Called with the name of the current work, the amount done, and the total.

    Returns:
        The figure; ``float(figure)`` is its value, ``figure.low`` and ``figure.high`` are the ends
        of its 95 % interval.

    Raises:
        UserError: If the images cannot be prepared or are too few, their sizes differ, the network
            is unknown, or its weights are not available.
    """
    if not isinstance(network, str):
        raise UserError(f"`network` is {network!r}: give one name")
    found = compare(
        *(images_a, images_b),
        layout=layout,
        range=range,
        network=network,
        metrics="fd",
        on_progress=on_progress,
    )
    return found[figure_name("fd", network)]


def _opened(
    pipe: Pipeline | Latents | str | Path, device: torch.device, precision: str
) -> Pipeline | Latents:
    """Return the model or autoencoder, loaded if ``pipe`` is a path or a name."""
    if isinstance(pipe, Pipeline | Latents):
        return pipe
    if not isinstance(pipe, str | os.PathLike):
        kind = type(pipe).__name__
        raise UserError(f"`pipe` is of type {kind}: give a pipeline, a codec, a path or a name")
    path = str(pipe)
    return (load_codec if is_autoencoder(path) else load)(path, device, precision)


def _in_memory(images: Any) -> bool:
    """Return whether images are arrays or tensors, and not a name, a path or prepared data."""
    return not isinstance(images, Prepared | str | os.PathLike)


def _images(
    argument: str,
    images: Any,
    labels: Any = None,
    classes: Sequence[str] | None = None,
    **in_memory: Any,
) -> Prepared:
    """Prepare images. ``argument`` is the name of the caller's argument, for errors.

    ``in_memory`` are arguments of `prepare` that apply only to arrays in memory.
    """
    if isinstance(images, Prepared):
        for name, value in {"labels": labels, "classes": classes}.items():
            if value is not None:
                raise UserError(
                    f"the images in `{argument}` are prepared already: leave out `{name}`"
                )
    if not _in_memory(images) and labels is classes is None:
        return images_of(images)
    with arguments_called(data=argument):
        return prepare(images, labels, classes=classes, **in_memory)


def _against(argument: str, images: Any, **in_memory: Any) -> Against:
    """Make a reference from images or the file of a reference, with arguments as in `_images`."""
    if isinstance(images, str | os.PathLike):
        return Against.of(images)
    found = _images(argument, images, **in_memory)
    return Against(called(found), found)


def _size(images: Prepared) -> str:
    """Return the size of images as text, height x width."""
    height, width = images.images.shape[1:3]
    return f"{height}x{width}"
