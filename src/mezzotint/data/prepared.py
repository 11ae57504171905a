"""The prepared array: a source decoded once into memory-mapped files, which training indexes.

An entry of the cache is a folder `images.npy`, `labels.npy`, `meta.json`. It is built under another
name beside its own and renamed when whole, so a crash leaves nothing that could be taken for data,
and of two processes that build the same entry the second to finish throws its own away.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.progress import MofNCompleteColumn

from mezzotint.data.find import find_source
from mezzotint.data.images import POLICY, Pixels, UnreadableImage
from mezzotint.data.source import NoSplit, Picture, Source
from mezzotint.errors import UserError
from mezzotint.storage.cache import cache_folder, remove_leftovers
from mezzotint.storage.progress import progress

Labels = npt.NDArray[np.int64]
Decoded = tuple[Picture, Pixels | UnreadableImage]

_CHUNK = 32  # pictures to a task: a task costs as much as decoding a small picture


@dataclass(frozen=True)
class Prepared:
    """A data set ready for training, read-only.

    `images` is uint8 (N, H, W, 3), memory-mapped; `labels` is int64 (N,), the class of each row, or
    -1 throughout where `classes` is empty; `fingerprint` is the SHA-256 of pixels, shape, labels
    and class names, the same wherever the pictures are; `skipped` counts those left out.
    """

    images: Pixels
    labels: Labels
    classes: tuple[str, ...]
    fingerprint: str
    folder: Path
    skipped: int

    def some(self, count: int) -> "Prepared":
        """Up to so many of the pictures: which, is a matter of chance, always the same.

        Not the first, nor every so manieth: the classes may come one after the other, or in turn.
        """
        if count >= len(self.images):
            return self
        rows = np.sort(np.random.default_rng(0).permutation(len(self.images))[:count])
        told = f"{count} of {self.fingerprint}"
        fingerprint = hashlib.sha256(told.encode()).hexdigest()
        picked = self.images[rows], self.labels[rows]
        return Prepared(*picked, self.classes, fingerprint, self.folder, 0)


def held_out(data: str, size: int | None, train: Prepared, skip_bad: bool = False) -> Prepared:
    """The pictures of a data set that no training sees: its test or validation split, or `train`.

    Raises UserError as `prepare` does for a split that there is.
    """
    for split in ("test", "validation"):
        if split in train.classes:
            continue  # a folder of that name, and trained on
        with suppress(NoSplit):
            return prepare(data, size, split, skip_bad)
    return train


def prepare(
    data: str, size: int | None = None, split: str = "train", skip_bad: bool = False
) -> Prepared:
    """Decode a data set into the cache, or find it there.

    Args:
        data: what `find_source` takes: glyphs, cifar10 or a path.
        size: side in pixels to scale and centre-crop to; None takes the pictures as they are.
        split: `train`, `test` ...
        skip_bad: leave out what cannot be read, and count it, instead of raising.

    Raises:
        UserError: as `find_source`; pictures that cannot be read, all named in one line; pictures
            of different sizes without `size`; a class of which all were skipped; no room on disk.
    """
    if size is not None and size < 1:
        raise UserError(f"size is {size}: give a side of at least 1 pixel")
    source = find_source(data, split)
    key = {"source": source.key, "size": size, "skip_bad": skip_bad, "policy": POLICY}
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    cache = cache_folder("prepared")
    entry = cache / f"{source.name[:50]}-{digest[:16]}"  # file systems stop at 255 bytes
    found = _load(entry)
    if found is not None:
        return found
    remove_leftovers(cache)
    building = Path(tempfile.mkdtemp(dir=cache, prefix=f"{entry.name}.partial-"))
    try:
        _build(source, size, skip_bad, building)
        return _commit(building, entry)
    finally:
        shutil.rmtree(building, ignore_errors=True)  # gone already if it was committed


def _load(entry: Path) -> Prepared | None:
    """The entry, or None where it is missing or damaged."""
    try:
        meta = json.loads((entry / "meta.json").read_text())
        images = np.load(entry / "images.npy", mmap_mode="r")
        labels = np.load(entry / "labels.npy")
        if [*images.shape] != meta["shape"] or labels.shape != images.shape[:1]:
            return None
        labels.setflags(write=False)
        return Prepared(
            images, labels, tuple(meta["classes"]), meta["fingerprint"], entry, meta["skipped"]
        )
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return None


def _commit(building: Path, entry: Path) -> Prepared:
    """Give a finished entry its name, unless another process was faster."""
    try:
        building.rename(entry)
    except OSError:  # there is one already: another process's, or a damaged one
        found = _load(entry)
        if found is not None:
            return found
        shutil.rmtree(entry)
        building.rename(entry)
    found = _load(entry)
    assert found is not None, f"{entry} was built and cannot be read"
    return found


def _build(source: Source, size: int | None, skip_bad: bool, building: Path) -> None:
    pictures = source.pictures()  # may download, and show so, before the bar below starts
    writer = _Writer(building / "images.npy", source.count)
    labels: list[int] = []
    bad: list[tuple[Picture, UnreadableImage]] = []
    with progress(MofNCompleteColumn()) as bar:
        task = bar.add_task(f"preparing {source.name}", total=source.count)
        for picture, pixels in _decoded(pictures, size):
            if isinstance(pixels, UnreadableImage):
                bad.append((picture, pixels))
            else:
                writer.add(picture.name, pixels)
                labels.append(picture.label)
            bar.advance(task)
    if bad and not skip_bad:
        raise UserError(
            f"{len(bad)} of {source.count} pictures cannot be read: "
            + ", ".join(f"{picture.name} ({reason})" for picture, reason in bad)
            + "; remove them or pass --skip-bad"
        )
    lost = {picture.label for picture, _ in bad} - set(labels)
    if lost:
        names = ", ".join(source.classes[label] for label in sorted(lost) if source.classes)
        raise UserError(
            f"no picture is left{' of ' + names if names else ''} after skipping {len(bad)} "
            "that cannot be read: repair or replace them"
        )
    shape, sha = writer.close()
    rows = np.array(labels, dtype="<i8")
    sha.update(rows.tobytes())
    sha.update(json.dumps([shape, source.classes]).encode())
    np.save(building / "labels.npy", rows)
    meta = {
        "shape": shape,
        "classes": source.classes,
        "fingerprint": sha.hexdigest(),
        "skipped": len(bad),
    }
    (building / "meta.json").write_text(json.dumps(meta, indent=1))


def _decoded(pictures: Iterable[Picture], size: int | None) -> Iterator[Decoded]:
    """The pictures in order, decoded by as many threads as there are processors.

    Only a few chunks are under way at a time, so a stream is never held whole.
    """

    def decode(chunk: list[Picture]) -> list[Decoded]:
        return [(picture, _attempt(picture, size)) for picture in chunk]

    stream = iter(pictures)
    workers = os.cpu_count() or 1
    pending: deque[Future[list[Decoded]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        while chunk := list(islice(stream, _CHUNK)):
            pending.append(pool.submit(decode, chunk))
            if len(pending) > 2 * workers:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()


def _attempt(picture: Picture, size: int | None) -> Pixels | UnreadableImage:
    try:
        return picture.decode(size)
    except UnreadableImage as error:
        return error


class _Writer:
    """Appends pictures of one size to a .npy file and to a SHA-256, a row at a time."""

    def __init__(self, path: Path, count: int) -> None:
        self.path = path
        self.count = count
        self.kept = 0
        self.sha = hashlib.sha256()
        self.first = ""
        self.array: Any = None

    def add(self, name: str, pixels: Pixels) -> None:
        if self.array is None:
            self.first = name
            self.array = self._open(self.count, pixels.shape)
        if pixels.shape != self.array.shape[1:]:
            a, b = ("{1}x{0}".format(*shape) for shape in (self.array.shape[1:], pixels.shape))
            raise UserError(
                f"the pictures differ in size: {self.first} is {a} and {name} is {b} "
                "(width x height); pass --size to scale and crop them to a square"
            )
        self.array[self.kept] = pixels
        self.sha.update(pixels.tobytes())
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
        free = shutil.disk_usage(self.path.parent).free
        if needed > free:  # a mapped file that outgrows its disk kills the process without a word
            raise UserError(
                f"the prepared array takes {needed / 1e9:.1f} GB and {self.path.parent.parent} has "
                f"{free / 1e9:.1f} GB free: set MEZZOTINT_CACHE to a larger disk, or pass --size"
            )
        return np.lib.format.open_memmap(
            self.path, mode="w+", dtype=np.uint8, shape=(count, *shape)
        )
