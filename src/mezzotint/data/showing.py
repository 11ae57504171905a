"""Show a prepared data set, in words and as a grid of examples."""

from __future__ import annotations

import numpy as np
from PIL.Image import Image

from mezzotint.data.prepared import Prepared
from mezzotint.data.sizes import written
from mezzotint.drawing import figures
from mezzotint.errors import UserError, counted
from mezzotint.storage.arrays import nchw

CLASSES, EACH, PLAIN = 10, 8, 64  # examples: of so many classes, of each, and without classes
NAMES = {1: "grey", 3: "RGB"}


def understood(data: Prepared) -> str:
    """Describe a data set: number, size, channels and values of the images, and conditions.

    The description also lists scaling, conversions and left-out images.
    """
    height, width, channels = data.images.shape[1:]
    named = "RGBA" if data.values.alpha else NAMES.get(channels, f"{channels} channels")
    said = [f"{counted(len(data), 'image')} of {height}x{width} (height x width)", named]
    said.append(str(data.values))
    if data.classes:
        counts = np.bincount(data.labels, minlength=len(data.classes))
        each = counted(counts.min(), "image") if counts.min() == counts.max() else _between(counts)
        said.append(f"{counted(len(data.classes), 'class', 'classes')} of {each}")
    else:
        said.append("no classes")
    said += map(str, data.conditions)
    if data.size is not None:
        said.append(f"scaled and cropped to {written(data.size)}")
    if data.mode not in (None, "keep"):
        said.append(f"converted to {data.mode}")
    if data.skipped:
        said.append(f"without {counted(data.skipped, 'image')} that cannot be read")
    return "; ".join([", ".join(said), *data.notes])


def example_grid(data: Prepared) -> Image:
    """Draw examples of a data set: 8 of each of the first ten classes; 64 if it has no classes.

    ``data.values.shown_as`` says how images other than 8-bit grey or RGB are shown.

    Args:
        data: The return value of `prepare`.

    Returns:
        The grid, a Pillow image.

    Raises:
        UserError: If ``data`` is not the return value of `prepare`.
    """
    if not isinstance(data, Prepared):
        raise UserError(
            f"`data` is of type {type(data).__name__}: prepare it first, with mz.prepare(...)"
        )
    order = np.random.default_rng(0).permutation(len(data))
    if not data.classes:
        chosen = np.sort(order[:PLAIN])
        return figures.grid(data.values.visible(nchw(data.images[chosen])))
    rows = [order[data.labels[order] == k][:EACH] for k in range(min(len(data.classes), CLASSES))]
    chosen = np.concatenate(rows)
    labels = data.labels[chosen].tolist()
    return figures.grid(data.values.visible(nchw(data.images[chosen])), labels, data.classes)


def _between(counts: np.ndarray) -> str:
    return f"{counts.min():,} to {counts.max():,} images"
