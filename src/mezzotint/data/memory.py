"""Check images in memory: a numpy array or a torch tensor.

Nothing is guessed. If the lengths of the axes do not determine the order of the axes, the caller
must state the order. If the type does not determine the range, the caller must state the range.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import torch

from mezzotint.data.images import Pixels, Wanted
from mezzotint.data.labels import are_names, check_labels, class_names, named
from mezzotint.data.naming import nfc
from mezzotint.data.source import UNLABELLED, Item, Source
from mezzotint.data.values import Array, Bounds, Values, stated
from mezzotint.errors import UserError, counted

Layout = Literal["NHW", "NHWC", "NCHW"]

_CHANNELS = (1, 3, 4)  # lengths of an axis that is taken for the channels
_BLOCK = 1 << 24  # values that are checked at a time


def memory(
    images: Any,
    labels: Any = None,
    classes: Sequence[str] | None = None,
    layout: Layout | None = None,
) -> Source:
    """Return images in memory as a source, in the order of the first axis.

    Args:
        images: See `prepare`.
        labels: See `prepare`.
        classes: See `prepare`.
        layout: See `prepare`.

    Raises:
        UserError: See `prepare`.
    """
    array = _nhwc(_array("`data`", images), layout)
    numbers, names = _labels(labels, len(array), classes)

    def items() -> Iterator[Item]:
        for i in range(len(array)):
            label = UNLABELLED if numbers is None else int(numbers[i])
            yield Item(f"data row {i}", partial(_row, array, i), label)

    def values(bounds: Bounds | None) -> tuple[Values, tuple[str, ...]]:
        return stated("`data`", array.dtype, partial(_span, array), bounds)

    return Source("array", {"kind": "array"}, names, len(array), items, values=values)


def _array(name: str, value: Any) -> Array:
    """Convert an array or a tensor to an array. Raises UserError for anything else."""
    if isinstance(value, torch.Tensor):
        value = value.detach()
        try:
            array: Array = (value.float() if value.dtype == torch.bfloat16 else value).cpu().numpy()
            return array
        except (TypeError, RuntimeError) as error:  # such as sparse or quantised tensors
            reason = " ".join(str(error).split())
            raise UserError(
                f"{name} cannot be converted to an array ({reason}): give a dense tensor"
            ) from None
    if isinstance(value, np.ma.MaskedArray):
        raise UserError(
            f"{name} is a masked array: fill the masked values, or leave out those images"
        )
    if isinstance(value, np.ndarray):
        return value
    raise UserError(
        f"{name} is of type {type(value).__name__}: give one numpy array or one torch tensor"
    )


def _nhwc(images: Array, layout: Layout | None) -> Array:
    """Return a view of the images as (N, H, W, C)."""
    what = f"`data` has the shape {images.shape}"
    if layout is not None and layout not in get_args(Layout):
        raise UserError(f"`layout` is {layout!r}: choose {', '.join(get_args(Layout))}")
    if images.ndim not in (3, 4):
        raise UserError(f"{what}: give (N, H, W), (N, H, W, C) or (N, C, H, W)")
    if 0 in images.shape:
        raise UserError(f"{what}, so it holds no images: give at least one")
    layout = layout or _plain_layout(images.shape)
    if len(layout) != images.ndim:
        raise UserError(
            f"{what}, but `layout` is {layout!r}: give images with the axes of the `layout`"
        )
    if layout == "NHW":
        images = images[..., None]
    elif layout == "NCHW":
        images = np.moveaxis(images, 1, 3)
    return images


def _plain_layout(shape: tuple[int, ...]) -> Layout:
    """Infer the layout from the lengths of the axes. Raises UserError if they are ambiguous."""
    what = f"`data` has the shape {shape}"
    if len(shape) == 3:
        if shape[2] in _CHANNELS or shape[0] in _CHANNELS[1:]:
            raise UserError(
                f'{what}, which may be one image: give `layout="NHW"` for {shape[0]} grey images, '
                "or give one image as `data[None]`"
            )
        return "NHW"
    first, last = shape[1] in _CHANNELS, shape[3] in _CHANNELS
    if first == last:
        which = "both axis 1 and axis 3" if first else "neither axis 1 nor axis 3"
        raise UserError(
            f"{what}, in which {which} may be the channels (1, 3 or 4): "
            'give `layout="NHWC"` or `layout="NCHW"`'
        )
    return "NHWC" if last else "NCHW"


def _blocks(images: Array) -> Iterator[Array]:
    rows = max(1, _BLOCK // images[0].size)
    for start in range(0, len(images), rows):
        yield images[start : start + rows]


def _span(images: Array) -> tuple[Any, Any]:
    """Return the least and greatest value of images. Raises UserError if a value is not finite."""
    lows, highs, row = [], [], 0
    for block in _blocks(images):
        if images.dtype.kind == "f" and not np.isfinite(block).all():
            row += int(np.argmin(np.isfinite(block).all((1, 2, 3))))
            raise UserError(
                f"image {row} of `data` has values that are not finite: repair or remove it"
            )
        lows.append(block.min())
        highs.append(block.max())
        row += len(block)
    return min(lows), max(highs)


def _row(images: Array, i: int, wanted: Wanted) -> Pixels:
    return np.array(images[i], order="C")


def _labels(
    labels: Any, count: int, classes: Sequence[str] | None
) -> tuple[Array | None, tuple[str, ...]]:
    """Return the class index of each image (None without labels), and the names of the classes."""
    if labels is None:
        if classes is not None:
            raise UserError(
                "`classes` are given without `labels`: give `labels`, one for each image"
            )
        return None, ()
    if isinstance(labels, (list, tuple)):
        try:
            labels = np.array(labels)
        except ValueError:
            raise UserError(
                "the entries of `labels` have different lengths: give one integer for each image"
            ) from None
    numbers = _array("`labels`", labels)
    check_labels("`labels`", numbers.dtype, numbers.shape, count)
    if are_names(numbers.dtype):
        if classes is None:
            return named("`labels`", numbers)
        return _numbered(numbers, _names(classes, 0))
    names = class_names("`labels`", numbers)
    return numbers, names if classes is None else _names(classes, len(names))


def _numbered(labels: Array, names: tuple[str, ...]) -> tuple[Array, tuple[str, ...]]:
    """Convert labels that are names to class indices; return these and the names."""
    found, own = named("`labels`", labels)
    if foreign := [name for name in own if name not in names]:
        raise UserError(
            f"`labels` has the label {foreign[0]!r}, which is not in `classes`: name every class"
        )
    return np.array([names.index(name) for name in own])[found], names


def _names(classes: Sequence[str], least: int) -> tuple[str, ...]:
    """Check and return the names of the classes; the labels need at least ``least`` names."""
    several = np.iterable(classes) and not isinstance(classes, str)
    given = tuple(classes) if several else ()
    if not several or not all(isinstance(name, str) for name in given):
        raise UserError(f"`classes` is {classes!r}: give a sequence of names")
    names = tuple(map(nfc, given))
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"`classes` has the name {twice!r} twice: rename one of the two")
    if least > len(names):
        raise UserError(
            f"`labels` has the label {least - 1}, but `classes` has only "
            f"{counted(len(names), 'name')}: name every class"
        )
    return names
