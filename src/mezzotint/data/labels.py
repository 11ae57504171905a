"""Checks and names of labels."""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mezzotint.data.naming import natural, nfc, shown
from mezzotint.data.source import Unlabelled
from mezzotint.errors import UserError

_CLASSES = 100_000  # more classes than any data set has; larger labels are seeds or times
_ALONE = 100  # if more images than this have labels that are all different, these are captions

CAPTIONS = "so many are captions, not classes; leave out the labels, or group them into classes"


def named(what: str, labels: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Convert labels that are names or booleans to class numbers.

    Args:
        what: The name of the labels in messages.
        labels: (N,), text, bytes or booleans.

    Returns:
        The class number of each image (N,), and the names of the classes. The names are in natural
        order and in Unicode's NFC.

    Raises:
        UserError: If there are too many different labels to be classes (see `are_classes`), or a
            text is not valid Unicode.
    """
    if labels.dtype.kind == "U" and _highest(labels) > sys.maxunicode:
        raise UserError(
            f"{what} has characters that are not valid Unicode: save the labels again as valid text"
        )
    texts = [nfc(_text(x)) for x in labels.tolist()]
    names = tuple(sorted(set(texts), key=natural))
    if not are_classes(len(names), len(texts)):
        raise UserError(
            f"{what} has {len(names):,} different labels for {len(texts):,} images: {CAPTIONS}"
        )
    number = {name: k for k, name in enumerate(names)}
    return np.array([number[text] for text in texts], np.int64), names


def _highest(labels: npt.NDArray[Any]) -> int:
    """Return the highest code point in an array of text."""
    native = np.ascontiguousarray(labels, labels.dtype.newbyteorder("="))
    return int(native.view(np.uint32).max(initial=0))


def _text(name: Any) -> str:
    return name.decode(errors="backslashreplace") if isinstance(name, bytes) else str(name)


def are_classes(distinct: int, count: int) -> bool:
    """Return whether there are few enough distinct labels to be classes and not captions."""
    return distinct <= _CLASSES and not distinct == count > _ALONE


def are_names(dtype: np.dtype[Any]) -> bool:
    """Return whether labels are text or booleans."""
    return dtype.kind in "USb"


def reordered(then: Sequence[str], now: Sequence[str]) -> str:
    """Return a warning if the order of the classes has changed, else "".

    ``then`` are the classes of a run, and ``now`` are the classes of its data. Older versions of
    mezzotint sorted class folders as text (1, 10, 2), and models from these versions keep that
    order. The result is also "" if the data has other classes than the run.
    """
    before, after = [*map(nfc, then)], [*map(nfc, now)]
    if before == after or sorted(before) != sorted(after):
        return ""
    return (
        f"the run has the classes in the order {shown(before, 5)}, but the data now has the order "
        f"{shown(after, 5)}"
    )


def check_labels(what: str, dtype: np.dtype[Any], shape: tuple[int, ...], count: int) -> None:
    """Raise UserError unless labels are one integer, name or boolean for each of `count` images."""
    if dtype.kind not in "iuUSb":
        raise UserError(f"{what} is {dtype}: give the class of each image as an integer from 0")
    if shape != (count,):
        raise UserError(
            f"{what} has the shape {shape} for {count} images: give one label for each image"
        )


def class_names(what: str, labels: npt.NDArray[Any]) -> tuple[str, ...]:
    """Return names for classes without names: "0" to the largest label.

    Raises:
        UserError: If a label is below 0, or too large to be a class.
    """
    low, high = int(labels.min()), int(labels.max())
    if low < 0:
        raise UserError(f"{what} has the label {low}: number classes from 0, or give no labels")
    return numbered(what, high)


def numbered(what: str, high: int) -> tuple[str, ...]:
    """Return the names "0" to ``high``, the largest label.

    Raises `Unlabelled` if ``high`` is too large for a class number. ``what`` is the name of the
    labels in the message.
    """
    if high >= _CLASSES:
        raise Unlabelled(
            f"{what} has the label {high}, too large for a class: number the classes from 0"
        )
    return tuple(str(number) for number in range(high + 1))
