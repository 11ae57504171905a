"""How a source becomes a prepared array: decoded once, into a folder of memory-mapped files.

The folder holds `images.npy`, `labels.npy` and `meta.json`.
"""

import hashlib
import json
import os
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import MofNCompleteColumn

from mezzotint.data.images import Pixels
from mezzotint.data.naming import shown
from mezzotint.data.prepared import sum_of
from mezzotint.data.reading import UnreadableImage, passing
from mezzotint.data.source import UNLABELLED, Item, Source
from mezzotint.errors import UserError
from mezzotint.storage import arrays
from mezzotint.storage.cache import check_room
from mezzotint.storage.progress import progress

Decoded = tuple[Item, Pixels | UnreadableImage]

_CHUNK = 32  # images to a task: a task costs as much as decoding a small image
_HELD = 1 << 30  # bytes of decoded images that wait for their turn, in all tasks together


def build(source: Source, size: int | None, skip_bad: bool, folder: Path) -> str:
    """Decode a source into an empty folder, and return the fingerprint.

    The fingerprint is the SHA-256 of pixels, shape, labels and class names.

    Raises:
        UserError: images that cannot be read, all named in one line, unless `skip_bad`; images of
            different sizes without `size`; a class whose images were all skipped; no room on disk.
    """
    items = source.items()  # may download, and show so, before the bar below starts
    writer = _Writer(folder / "images.npy", source.count)
    labels: list[int] = []
    bad: list[tuple[Item, UnreadableImage]] = []
    with progress(MofNCompleteColumn()) as bar:
        task = bar.add_task(f"preparing {source.name}", total=source.count)
        for item, pixels in _decoded(_checked(source, items), size):
            if isinstance(pixels, UnreadableImage):
                bad.append((item, pixels))
            else:
                _check_pixels(source, item, pixels)
                writer.add(item.name, pixels)
                labels.append(item.label)
            bar.advance(task)
    _check(source, labels, bad, skip_bad)
    shape, sha = writer.close()
    rows = np.array(labels, dtype="<i8")
    sha.update(rows.tobytes())
    sha.update(json.dumps([shape, source.classes]).encode())
    arrays.save(folder / "labels.npy", rows)
    fingerprint: str = sha.hexdigest()
    meta = {
        "shape": shape,
        "classes": source.classes,
        "fingerprint": fingerprint,
        "skipped": len(bad),
        "notes": source.notes,
        "pixels": writer.crc,
    }
    meta["sum"] = sum_of(meta, rows)
    (folder / "meta.json").write_text(json.dumps(meta, indent=1))
    return fingerprint


def _checked(source: Source, items: Iterator[Item]) -> Iterator[Item]:
    """Yield the items. Raises UserError for a number or a label that the source did not state."""
    what = f"the source {source.name}"
    count, labels = 0, range(len(source.classes)) if source.classes else (UNLABELLED,)
    for item in items:
        count += 1
        if count > source.count:
            raise UserError(
                f"the source {source.name} has more items than {source.count}: say how many"
            )
        if item.label not in labels:
            raise UserError(
                f"{what}: {item.name} has the label {item.label}, none of its "
                f"{len(source.classes)} classes: count them from 0, or {UNLABELLED} without any"
            )
        yield item
    if count < source.count:
        raise UserError(
            f"the source {source.name} has {count} items, not {source.count}: say how many"
        )


def _check_pixels(source: Source, item: Item, pixels: Pixels) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise UserError(
            f"the source {source.name}: {item.name} is {pixels.dtype} {pixels.shape}: "
            "decode items to uint8 (H, W, 3)"
        )


def _check(
    source: Source, labels: list[int], bad: list[tuple[Item, UnreadableImage]], skip_bad: bool
) -> None:
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
    lost = {item.label for item, _ in bad} - set(labels)
    if lost:
        names = shown([source.classes[label] for label in sorted(lost) if source.classes], 5)
        raise UserError(
            f"no image is left{' of ' + names if names else ''} after skipping {len(bad)} "
            "that cannot be read: repair or replace them"
        )


def _decoded(items: Iterable[Item], size: int | None) -> Iterator[Decoded]:
    """The images in order, decoded by as many threads as there are processors.

    Only a few chunks are in memory at a time, and they are short where images are large.
    """
    stream, length = iter(items), _CHUNK if size else 1
    workers = os.cpu_count() or 1
    share = _HELD // (2 * workers + 1)
    pending: deque[Future[tuple[list[Decoded], list[Item]]]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        while (chunk := list(islice(stream, length))) or pending:
            if chunk:
                pending.append(pool.submit(_chunk, chunk, size, share))
            if not chunk or len(pending) > 2 * workers:
                done, rest = pending.popleft().result()
                largest = max(_bytes(pixels) for _, pixels in done)
                length = max(1, min(_CHUNK, share // max(1, largest)))
                yield from done
                yield from ((item, _attempt(item, size)) for item in rest)
    finally:
        pool.shutdown(cancel_futures=True)


def _chunk(items: list[Item], size: int | None, most: int) -> tuple[list[Decoded], list[Item]]:
    """Decode items until there are more bytes than ``most``, and return what is left of them."""
    done: list[Decoded] = []
    held = 0
    for item in items:
        if held > most:
            break
        pixels = _attempt(item, size)
        done.append((item, pixels))
        held += _bytes(pixels)
    return done, items[len(done) :]


def _bytes(pixels: Pixels | UnreadableImage) -> int:
    return 0 if isinstance(pixels, UnreadableImage) else pixels.nbytes


def _attempt(item: Item, size: int | None) -> Pixels | UnreadableImage:
    try:
        return item.decode(size)
    except UnreadableImage as error:
        return error
    except OSError as error:
        raise passing(item.name, error) from None


class _Writer:
    """Appends images of one size to a .npy file and to a SHA-256, a row at a time."""

    def __init__(self, path: Path, count: int) -> None:
        self.path = path
        self.count = count
        self.kept = 0
        self.sha, self.crc = hashlib.sha256(), 0
        self.first = ""
        self.array: Any = None

    def add(self, name: str, pixels: Pixels) -> None:
        if self.array is None:
            self.first = name
            self.array = self._open(self.count, pixels.shape)
        if pixels.shape != self.array.shape[1:]:
            a, b = ("{1}x{0}".format(*shape) for shape in (self.array.shape[1:], pixels.shape))
            raise UserError(
                f"the images differ in size: {self.first} is {a} and {name} is {b} "
                "(width x height); pass `size` to scale and crop them to a square"
            )
        self.array[self.kept] = pixels
        content = pixels.tobytes()
        self.sha.update(content)
        self.crc = zlib.crc32(content, self.crc)
        self.kept += 1

    def close(self) -> tuple[list[int], Any]:
        """Flush, and return the shape and the SHA-256 of the pixels so far."""
        if self.kept < self.count:  # the header states the number of rows: write it anew
            longer = self.array
            self.path.unlink()
            self.array = self._open(self.kept, longer.shape[1:])
            for start in range(0, self.kept, 1024):
                stop = min(start + 1024, self.kept)
                self.array[start:stop] = longer[start:stop]
        self.array.flush()
        return [*self.array.shape], self.sha

    def _open(self, count: int, shape: tuple[int, ...]) -> Any:
        needed = count * int(np.prod(shape))
        check_room(self.path.parent.parent, needed, "the prepared images", "pass `size`")
        return arrays.create(self.path, np.uint8, (count, *shape))
