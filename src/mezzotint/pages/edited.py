"""The section of a page that shows edits of held-out images by a model."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mezzotint.data import held_out
from mezzotint.drawing.inline import strip
from mezzotint.drawing.page import Cell, Section, Table
from mezzotint.errors import UserError, counted
from mezzotint.evaluation.samples import Follow
from mezzotint.pages.runs import Run
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.storage.arrays import nchw

SHOWN, BETWEEN = 4, 8  # the number of edited images, and of images in an interpolation


def editing(run: Run, pipe: Pipeline, seed: int, follow: Follow) -> Section:
    """Return a section with edits of held-out images, or of training images if none are held out.

    The edits are variations, inpaintings, enlargements, inversions and an interpolation.
    """
    c = run.config.data
    train = c.prepared()
    try:
        found = held_out(train)
    except UserError as error:
        return Section("Editing", f"Not shown: {error}.")
    images = nchw(found.some(SHOWN).images)
    # Names, because the held-out images may have fewer classes, and so other numbers for them.
    named = pipe.classes and found.classes
    labels = [found.classes[k] for k in found.some(SHOWN).labels] if named else None
    height, width = pipe.size
    mask = torch.zeros(height, width)
    mask[height // 4 : -(height // 4), width // 4 : -(width // 4)] = 1
    holes = _typed(images.float() * (1 - mask) + pipe.values.middle * mask, images)
    small = _typed(torch.nn.functional.avg_pool2d(images.float(), 2), images)

    def back() -> Tensor:
        noise = pipe.invert(images, labels)
        return pipe.sample(len(images), labels, noise=noise, sampler="ddim", guidance=1.0)

    def between() -> Tensor:
        if len(images) < 2:
            raise UserError("an interpolation needs two images: hold out more than one image")
        ends = None if labels is None else (labels[0], labels[1])
        return pipe.interpolate(images[0], images[1], BETWEEN, ends)

    work: dict[str, Callable[[], Tensor]] = {
        "given": lambda: images,
        "varied, strength 0.3": lambda: pipe.vary(images, 0.3, labels, seed=seed),
        "varied, strength 0.6": lambda: pipe.vary(images, 0.6, labels, seed=seed),
        "the middle hidden": lambda: holes,
        "filled in": lambda: pipe.inpaint(images, mask, labels, seed=seed),
        "half the size": lambda: small,
        "enlarged": lambda: pipe.enlarge(small, 2, labels, seed=seed),
        "inverted and sampled back": back,
        "between the first two": between,
    }
    rows: list[tuple[Cell, ...]] = []
    for i, (name, make) in enumerate(work.items()):
        follow("Editing", i, len(work))
        try:
            made = pipe.values.visible(make())
            rows.append((name, strip(made, f"{counted(len(made), 'image')}: {name}", BETWEEN)))
        except UserError as error:
            rows.append((name, f"Not shown: {error}."))
    held = "of the training set" if found is train else "held out from the training"
    text = f"{counted(len(images), 'image')} of {c.data} {held}, edited with the default methods."
    return Section("Editing", text, tables=[Table(rows)])


def _typed(x: Tensor, like: Tensor) -> Tensor:
    """Convert x to the type of ``like``; round it if that is an integer type."""
    return (x if like.dtype.is_floating_point else x.round()).to(like.dtype)
