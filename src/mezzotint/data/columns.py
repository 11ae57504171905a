"""Named conditions of images besides their class: numbers, labels and images.

A column has a value for each image of a source. `write` puts the columns of a source into the
folder of its prepared array, as ``condition-0.npy`` and so on, beside the images.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mezzotint.data.images import fit
from mezzotint.data.reading import UnreadableImage
from mezzotint.errors import UserError, counted
from mezzotint.networks.conditions import (
    Condition,
    ImageCondition,
    NumbersCondition,
    TagsCondition,
    read,
)
from mezzotint.networks.conditions.condition import as_array
from mezzotint.storage.arrays import SUMMED, crc, create

if TYPE_CHECKING:
    from mezzotint.data.source import Item, Source

Array: TypeAlias = npt.NDArray[Any]
Decode: TypeAlias = Callable[[], Array]


@dataclass(frozen=True, eq=False)
class Column:
    """A condition, with a value for every image of a source.

    Attributes:
        name: The condition's name.
        digest: A text that changes whenever the values may have changed.
        make: A function of a `Prepare`. It returns the `Condition`, and an array with one row for
            each image (see `Prepared.condition`).
    """

    name: str
    digest: str
    make: Callable[[Prepare], tuple[Condition, Array]]


@dataclass(frozen=True, eq=False)
class Prepare:
    """The sizes of the images to which the values of a `Column` belong.

    Attributes:
        shape: The (H, W) of all images after preparation.
        before: A function that yields the name and the original (H, W) of each image.
    """

    shape: tuple[int, int]
    before: Callable[[], Iterator[tuple[str, tuple[int, int]]]]


def numbers(name: str, values: Array) -> Column:
    """Make a column of numbers (N, D). Raises UserError for values that are not finite."""
    if not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values).all(1)))
        raise UserError(
            f"{name!r} of image {row} is not finite: give a finite number, or leave out the image"
        )
    values = values.astype(np.float64)
    return Column(name, _digest(values), lambda _: (NumbersCondition.of(name, values), values))


def tags(name: str, names: Sequence[str], values: Array) -> Column:
    """Make a column of K labels; ``values`` (N, K) are 1 where an image has the label, else 0."""
    condition, rows = TagsCondition(name, tuple(names)), values.astype(np.uint8)
    return Column(name, _digest(rows, names), lambda _: (condition, rows))


def images(name: str, digest: str, decoders: Sequence[Decode]) -> Column:
    """Make a `Column` of images uint8 (h, w, c), which are decoded when `Column.make` is called."""

    def make(prepare: Prepare) -> tuple[Condition, Array]:
        made = [
            _fitted(name, _decoded(name, decode, item), prepare.shape, item, before)
            for decode, (item, before) in zip(decoders, prepare.before(), strict=True)
        ]
        if len({each.shape for each in made}) > 1:
            shapes = sorted({each.shape for each in made})[:2]
            raise UserError(
                f"the images of {name!r} have the shapes {shapes[0]} and {shapes[1]}: give images "
                "of one shape"
            )
        height, width, channels = made[0].shape
        return ImageCondition(name, (channels, height, width)), np.stack(made)

    return Column(name, digest, make)


def of_arrays(condition: Any, count: int) -> tuple[Column, ...]:
    """Make columns from the argument `condition` of `prepare`: an array, or a dict of arrays.

    Raises UserError for an ambiguous array, or if an array does not have ``count`` rows.
    """
    if condition is None:
        return ()
    named = condition if isinstance(condition, Mapping) else {"condition": condition}
    if wrong := [name for name in named if not isinstance(name, str)]:
        raise UserError(f"`condition` has the key {wrong[0]!r}: give names of conditions")
    return tuple(_of_array(name, value, count) for name, value in named.items())


def write(
    source: Source, folder: Path, shown: Callable[[Item], Array], sized: bool
) -> dict[str, Any]:
    """Write a source's columns into the folder of its prepared array.

    Args:
        source: The source.
        folder: The folder with the images.
        shown: A function that decodes an item at its original size.
        sized: Whether the images were scaled, so that their original sizes must be read.

    Returns:
        The new content of the folder's meta.json; the caller must write this file.

    Raises:
        UserError: If unreadable images were left out, or the size of a condition's image does not
            match the size of the image that it belongs to.
    """
    meta = json.loads((folder / "meta.json").read_text())
    count, height, width, _ = meta["shape"]
    if meta["skipped"]:
        raise UserError(
            f"{counted(meta['skipped'], 'image')} cannot be read, so the conditions would not "
            "match the remaining images: repair or remove the unreadable ones, and leave out "
            "`skip_bad`"
        )

    def before() -> Iterator[tuple[str, tuple[int, int]]]:
        for item in islice(source.items(), count):
            own = shown(item).shape[:2] if sized else (height, width)
            yield item.name, (own[0], own[1])

    sha, facts, sums = hashlib.sha256(meta["fingerprint"].encode()), [], []
    for i, column in enumerate(source.columns):
        condition, rows = column.make(Prepare((height, width), before))
        kept = create(folder / f"condition-{i}.npy", rows.dtype, rows.shape)
        kept[...] = rows
        kept.flush()
        facts.append(condition.facts())
        sums.append(crc(rows))
        sha.update(json.dumps(facts[-1]).encode() + np.ascontiguousarray(rows).tobytes())
    found: dict[str, Any] = {**meta, "conditions": facts, "rows": sums}
    return found | {"fingerprint": sha.hexdigest()}


def stored(folder: Path, meta: Mapping[str, Any]) -> dict[str, Any]:
    """Read the fields `condition` and `conditions` of `Prepared` from a prepared array's folder.

    Raises ValueError if values are missing or a checksum is wrong.
    """
    conditions = read(meta.get("conditions", ()))
    arrays = [np.load(folder / f"condition-{i}.npy", mmap_mode="r") for i in range(len(conditions))]
    for rows, total in zip(arrays, meta.get("rows", ()), strict=True):
        if len(rows) != meta["shape"][0] or (rows.nbytes <= SUMMED and crc(rows) != total):
            raise ValueError
    named = {each.name: rows for each, rows in zip(conditions, arrays, strict=True)}
    return {"condition": named, "conditions": conditions}


def again(condition: Mapping[str, Array], conditions: Sequence[Condition]) -> tuple[Column, ...]:
    """Turn the conditions of a prepared array back into columns of a source."""

    def one(each: Condition, rows: Array) -> Column:
        if isinstance(each, TagsCondition):
            return tags(each.name, each.tags, np.array(rows))
        if isinstance(each, ImageCondition):
            decoders = [partial(_row, rows, i) for i in range(len(rows))]
            return images(each.name, _digest(rows), decoders)
        return numbers(each.name, np.array(rows))

    return tuple(one(each, condition[each.name]) for each in conditions)


def _row(rows: Array, i: int) -> Array:
    return np.array(rows[i])


def _of_array(name: str, value: Any, count: int) -> Column:
    """Make a column of numbers, tags or images; the array's type and shape decide which."""
    what = f"`condition` {name!r}" if name != "condition" else "`condition`"
    array = as_array(value)
    if not array.ndim:
        raise UserError(
            f"{what} is no array: give a dense array or tensor, with equally long rows and without "
            "a mask"
        )
    if array.shape[:1] != (count,):
        raise UserError(
            f"{what} has the shape {array.shape} for {counted(count, 'image')}: "
            "give one row for each image"
        )
    if array.dtype == np.uint8 and array.ndim == 4:
        first = array.shape[1] in (1, 3, 4) and array.shape[3] not in (1, 3, 4)
        rows = np.moveaxis(array, 1, 3) if first else array
        return images(name, _digest(rows), [partial(_row, rows, i) for i in range(count)])
    if array.dtype.kind in "iub" and array.ndim == 2 and np.isin(array, (0, 1)).all():
        return tags(name, [str(k) for k in range(array.shape[1])], array)
    if array.dtype.kind == "f" and array.ndim in (1, 2) and array.size:
        return numbers(name, array.reshape(count, -1))
    hint = "; if each image has one class, give `labels` instead" if array.ndim == 1 else ""
    raise UserError(
        f"{what} is {array.dtype} {array.shape}: give numbers as float (N, D), several labels "
        f"of each image as zeros and ones (N, K), images as uint8 (N, H, W, C){hint}"
    )


def _decoded(name: str, decode: Decode, item: str) -> Array:
    """Decode the image of a condition to uint8; a 16-bit value v becomes round(v / 257)."""
    try:
        pixels = decode()
    except UnreadableImage as error:
        raise UserError(
            f"{name!r} of {item} cannot be read ({error}): repair it, or remove the image"
        ) from None
    return pixels if pixels.dtype == np.uint8 else np.rint(pixels / 257).astype(np.uint8)


def _fitted(
    name: str, pixels: Array, shape: tuple[int, int], item: str, before: tuple[int, int]
) -> Array:
    """Scale and crop the image of a condition in the same way as the training image.

    The training image was scaled and cropped from the size ``before`` to the size ``shape``.
    """
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    height, width = pixels.shape[:2]
    for large, small in ((before, (height, width)), ((height, width), before)):
        factor = large[0] // small[0]
        if factor and (small[0] * factor, small[1] * factor) == large:
            if before == shape:
                return pixels
            sides = [s // factor if large == before else s * factor for s in shape]
            return fit(pixels, (sides[0], sides[1]))
    raise UserError(
        f"{name!r} of {item} has {height}x{width} pixels, but the image has "
        f"{before[0]}x{before[1]} (height x width): scale one of the two to a whole multiple of "
        "the other's size"
    )


def _digest(values: Array, *more: Any) -> str:
    sha = hashlib.sha256(json.dumps([values.shape, str(values.dtype), *more]).encode())
    for start in range(0, len(values), 1024):
        sha.update(np.ascontiguousarray(values[start : start + 1024]).tobytes())
    return sha.hexdigest()
