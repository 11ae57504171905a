"""Turn a source into a prepared array: decode it once, into a folder of memory-mapped files.

The folder holds `images.npy`, `labels.npy` and `meta.json`.
"""

import hashlib
import json
import zlib
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import MofNCompleteColumn

from mezzotint.data.decoding import Decoding, decoded
from mezzotint.data.images import Pixels, Wanted
from mezzotint.data.naming import shown
from mezzotint.data.prepared import sum_of
from mezzotint.data.reading import UnreadableImage
from mezzotint.data.sizes import Size
from mezzotint.data.source import UNLABELLED, Item, Source
from mezzotint.data.values import EIGHT_BIT
from mezzotint.drawing.bars import progress
from mezzotint.errors import UserError, counted, warn
from mezzotint.storage import arrays
from mezzotint.storage.cache import check_room

DIM = 1 << 13  # 16-bit images with smaller values have 12 bits, for example


def build(source: Source, size: Size | None, skip_bad: bool, folder: Path, wanted: Wanted) -> str:
    """Decode a source into an empty folder, and return the fingerprint.

    The fingerprint is the SHA-256 of pixels, shape, labels and class names, and of type and range
    if the values are not 8-bit. If grey and RGB images are mixed and ``wanted`` requests no mode,
    all become RGB.

    Args:
        source: The images.
        size: The size to scale and crop the images to; None keeps their own size.
        skip_bad: Whether images that cannot be read are left out.
        folder: The empty folder.
        wanted: The channels to decode to, and the range of values that the user states.

    Raises:
        UserError: If images cannot be read and `skip_bad` is not set (the message gives their
            number, and names up to five); images differ in size and `size` is not given; images
            differ in channels (only grey and RGB may be mixed, and only if ``wanted`` has no mode);
            values are not finite, or outside the stated range; more than half of the images, or all
            images of a class, were skipped; or the disk is full.
    """
    stated, notes = source.values(wanted.range) if source.values else (None, ())
    task = Decoding(source, size, wanted, stated)
    try:
        return _built(task, skip_bad, folder, notes)
    except _Mixed as mixed:
        if wanted.mode is not None or not mixed.plain:
            raise UserError(
                f'{mixed}: pass `mode="rgb"` or `mode="grey"` to convert them all, or prepare them '
                "separately"
            ) from None
        (folder / "images.npy").unlink()
        note = f"{mixed}: all were converted to RGB"
        task = replace(task, wanted=replace(wanted, mode="rgb"))
        return _built(task, skip_bad, folder, (*notes, note))


def _built(task: Decoding, skip_bad: bool, folder: Path, notes: tuple[str, ...]) -> str:
    """Decode a source into a folder, with a progress bar; return the fingerprint."""
    source = task.source
    items = source.items()  # called before the bar begins, because it may download with its own bar
    writer = _Writer(folder / "images.npy", source.count)
    labels: list[int] = []
    bad: list[tuple[Item, UnreadableImage]] = []
    with progress(MofNCompleteColumn()) as bar:
        line = bar.add_task(f"preparing {source.name}", total=source.count)
        for item, pixels in decoded(_checked(source, items), task):
            if isinstance(pixels, UnreadableImage):
                bad.append((item, pixels))
            else:
                if not labels:
                    task.values(pixels.dtype)  # refuses a superfluous range at the first image
                writer.add(item.name, pixels)
                labels.append(item.label)
            bar.advance(line)
    _check(source, labels, bad, skip_bad)
    values = task.values(writer.array.dtype)
    if values.dtype == "uint16" and not task.stated and (high := int(writer.array.max())) < DIM:
        dark = (
            f"the largest value of the 16-bit images is {high:,} of 65,535, so they are nearly "
            "black: scale their values, or save them as an array and give its `range`"
        )
        warn(dark)
        notes = (*notes, dark)
    shape, sha = writer.close()
    rows = np.array(labels, dtype="<i8")
    sha.update(rows.tobytes())
    sha.update(json.dumps([shape, source.classes]).encode())
    if values != EIGHT_BIT:
        sha.update(json.dumps(asdict(values)).encode())
    arrays.save(folder / "labels.npy", rows)
    fingerprint: str = sha.hexdigest()
    meta = {
        "shape": shape,
        "classes": source.classes,
        "fingerprint": fingerprint,
        "skipped": len(bad),
        "notes": notes,
        "pixels": writer.crc,
        **values.as_json(),
    }
    meta["sum"] = sum_of(meta, rows)
    (folder / "meta.json").write_text(json.dumps(meta, indent=1))
    return fingerprint


def _checked(source: Source, items: Iterator[Item]) -> Iterator[Item]:
    """Yield the items; raise UserError if their number or a label contradicts the source."""
    what = f"the source {source.name}"
    count, labels = 0, range(len(source.classes)) if source.classes else (UNLABELLED,)
    for item in items:
        count += 1
        if count > source.count:
            raise UserError(
                f"{what} has more items than its `count` of {source.count}: correct the count"
            )
        if item.label not in labels:
            last = len(source.classes) - 1
            remedy = f"give labels from 0 to {last}" if last >= 0 else f"give {UNLABELLED}"
            raise UserError(
                f"{what} has {counted(last + 1, 'class', 'classes')}, but {item.name} has the "
                f"label {item.label}: {remedy}"
            )
        yield item
    if count < source.count:
        raise UserError(
            f"{what} has {count} items, but its `count` is {source.count}: correct the count"
        )


def _check(
    source: Source, labels: list[int], bad: list[tuple[Item, UnreadableImage]], skip_bad: bool
) -> None:
    """Raise UserError if unreadable images may not be skipped, or if too few would be left."""
    if bad and not skip_bad:
        raise UserError(
            f"{len(bad)} of {source.count} images cannot be read: "
            + shown([f"{item.name} ({reason})" for item, reason in bad], 5)
            + "; remove them or pass `skip_bad=True`"
        )
    if 2 * len(bad) > source.count:
        raise UserError(
            f"{len(bad)} of {source.count} images cannot be read, and `skip_bad=True` leaves out "
            "no more than half: "
            + shown([f"{item.name} ({reason})" for item, reason in bad], 5)
            + "; repair or remove them"
        )
    if not labels:
        raise UserError(f"the source {source.name} has no images: give one or more")
    lost = {item.label for item, _ in bad} - set(labels)
    if lost:
        names = shown([source.classes[label] for label in sorted(lost) if source.classes], 5)
        raise UserError(
            f"{len(bad)} images cannot be read, and without them no "
            f"image{' with the label ' + names if names else ''} is left: repair or replace them"
        )


class _Mixed(UserError):
    """Raised for two images that differ in channels or type.

    ``plain`` says whether both images are grey or RGB, and so can be converted to 8-bit RGB.
    """

    def __init__(self, first: str, kind: str, name: str, other: str) -> None:
        which = f"{first} is {kind}, {name} is {other}"
        super().__init__(f"the images have different channels ({which})")
        self.plain = {kind, other} <= {"grey", "16-bit grey", "RGB"}


def _kind(pixels: Pixels) -> str:
    """Return the channels and the type of an image (H, W, C) in words."""
    known = {("uint8", 1): "grey", ("uint16", 1): "16-bit grey", ("uint8", 3): "RGB"}
    key = str(pixels.dtype), pixels.shape[-1]
    return known.get(key, f"{key[0]} of {key[1]} channels")


class _Writer:
    """Writes images of one size to a .npy file, one at a time, and computes their SHA-256."""

    def __init__(self, path: Path, count: int) -> None:
        self.path = path
        self.count = count
        self.kept = 0
        self.sha, self.crc = hashlib.sha256(), 0
        self.first = ""
        self.array: Any = None
        self.rows: Any = None  # the same memory as a plain array, which is faster to index

    def add(self, name: str, pixels: Pixels) -> None:
        if self.array is None:
            self.first = name
            self.array = self._open(self.count, pixels.shape, pixels.dtype)
            self.rows = np.asarray(self.array)
        if pixels.dtype != self.rows.dtype or pixels.shape[-1] != self.rows.shape[-1]:
            raise _Mixed(self.first, _kind(self.rows), name, _kind(pixels))
        if pixels.shape != self.array.shape[1:]:
            a, b = ("{}x{}".format(*shape) for shape in (self.array.shape[1:], pixels.shape))
            raise UserError(
                f"the images differ in size: {self.first} is {a} and {name} is {b} "
                "(height x width); pass `size` to scale and crop them to one size"
            )
        self.rows[self.kept] = pixels
        content = pixels.data if pixels.flags.c_contiguous else pixels.tobytes()
        self.sha.update(content)
        self.crc = zlib.crc32(content, self.crc)
        self.kept += 1

    def close(self) -> tuple[list[int], Any]:
        """Flush the file, and return the shape and the SHA-256 of the pixels written."""
        if self.kept < self.count:  # the header states the number of rows, so it is rewritten
            longer = self.array
            self.path.unlink()
            self.array = self._open(self.kept, longer.shape[1:], longer.dtype)
            for start in range(0, self.kept, 1024):
                stop = min(start + 1024, self.kept)
                self.array[start:stop] = longer[start:stop]
        self.array.flush()
        return [*self.array.shape], self.sha

    def _open(self, count: int, shape: tuple[int, ...], dtype: Any) -> Any:
        needed = count * int(np.prod(shape)) * dtype.itemsize
        check_room(self.path.parent.parent, needed, "the prepared images", "pass `size`")
        return arrays.create(self.path, dtype, (count, *shape))
