"""CIFAR-10 (Krizhevsky, 2009), either downloaded or read from a copy of its official archive.

Its files are pickles, and a pickle can run code. So each file must have its official checksum, and
the unpickler builds no numpy objects.
"""

import hashlib
import io
import pickle
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from mezzotint.data.images import Pixels, Wanted
from mezzotint.data.naming import canonical
from mezzotint.data.reading import Member, may_pass, passing, read_file
from mezzotint.data.source import Item, Kind, Source, no_split, stamp
from mezzotint.errors import UserError
from mezzotint.storage.cache import download

NAME = "cifar10"
URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
ARCHIVE = "cifar-10-python.tar.gz"
FOLDER = "cifar-10-batches-py"
SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
BATCHES = {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)}
ROWS = 10_000
"""Images in each batch of the archive."""
MD5 = {
    "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
"""The MD5 sums of the files in the archive, which other libraries check too."""
_MOST = 1 << 25  # limit for a file in the archive, in bytes; the largest file has 31 million bytes


Read: TypeAlias = Callable[[str], bytes | None]


def cifar10(data: str, split: str) -> Source:
    """Return the 50,000 (train) or 10,000 (test) images of CIFAR-10, 32x32, in the official order.

    Args:
        data: `cifar10`, or a path. With `cifar10`, the official archive is downloaded into the
            cache when it is first needed, and its SHA-256 is checked. A path leads to a copy of the
            archive, to the extracted folder `cifar-10-batches-py`, or to a folder with one of them.
        split: train or test.

    Raises:
        UserError: If there is no such split. If the download fails or the archive is damaged, the
            method `items()` of the result raises UserError.
    """
    if canonical(split) not in BATCHES:
        raise no_split("cifar10", split, BATCHES)
    split = canonical(split)
    place = None if data == NAME else _copy(Path(data))
    origin: dict[str, Any] = {"sha256": SHA256}
    if place is not None:
        origin = {"file": stamp(place)}
        if place.is_dir():
            origin = {"files": [stamp(place / batch) for batch in BATCHES[split]]}
    key = {"kind": "cifar10", "split": split, **origin}
    count = ROWS * len(BATCHES[split])
    said = "CIFAR-10's own files"
    items = partial(_open, split, place)
    return Source(f"cifar10-{split}", key, CLASSES, count, items, layout=said)


def _copy(path: Path) -> Path | None:
    """Return the archive or extracted folder that a path names or contains; None if neither."""
    if path.is_file():
        return path if _is_archive(path) else None
    if (path / ARCHIVE).is_file():
        return path / ARCHIVE
    batches = [batch for names in BATCHES.values() for batch in names]
    for folder in (path, path / FOLDER, *sorted(path.glob(f"*/{FOLDER}"))):
        if any((folder / batch).is_file() for batch in batches):
            return folder
    return None


def _is_archive(path: Path) -> bool:
    """Return whether a tar.gz has the official name, or the official folder as its first entry."""
    if not path.name.lower().endswith((".tar.gz", ".tgz")):
        return False
    if path.name.lower() == ARCHIVE:
        return True
    try:
        with tarfile.open(path, "r|gz", tarinfo=Member) as tar:
            first = tar.next()
    except (OSError, EOFError, tarfile.TarError, zlib.error, RecursionError):
        return False
    return first is not None and first.name.split("/")[0] == FOLDER


def _takes(path: Path) -> bool:
    return _copy(path) is not None


KIND = Kind(NAME, cifar10)
COPY = Kind(f"a copy of {ARCHIVE}", cifar10, _takes)


def _open(split: str, place: Path | None) -> Iterator[Item]:
    instead = f"give the path of your own {ARCHIVE} as the data"
    return _items(split, place or download(URL, SHA256, ARCHIVE, instead))


def _items(split: str, place: Path) -> Iterator[Item]:
    """Yield the items of a split from the archive or the extracted folder."""
    try:
        with _opened(place) as read:
            names = _unpickled(read, place, "batches.meta").get(b"label_names")
            if names != [name.encode() for name in CLASSES]:
                raise _damaged(place, "batches.meta", "its class names are not the official ones")
            for batch in BATCHES[split]:
                yield from _batch(read, place, batch)
    except (OSError, EOFError, tarfile.TarError, zlib.error, MemoryError, RecursionError) as error:
        if may_pass(error):
            raise passing(str(place), error) from None
        raise UserError(f"{place} is not a whole tar.gz ({error}): fetch {URL} again") from None


@contextmanager
def _opened(place: Path) -> Iterator[Read]:
    """Yield a function that reads a file of the archive or folder by name.

    The function returns None if there is no such file.
    """
    if place.is_dir():

        def file(member: str) -> bytes | None:
            path = place / member
            return read_file(path, _MOST) if path.is_file() else None

        yield file
        return
    with tarfile.open(place, "r:gz", tarinfo=Member) as tar:

        def extracted(member: str) -> bytes | None:
            try:
                stream = tar.extractfile(f"{FOLDER}/{member}")
            except KeyError:
                return None
            return stream.read(_MOST) if stream else None

        yield extracted


def _batch(read: Read, archive: Path, batch: str) -> Iterator[Item]:
    """Yield the items of one batch. Raises UserError if the batch's content is not as expected."""
    content = _unpickled(read, archive, batch)
    pixels, labels = _pixels(content.get(b"data")), content.get(b"labels")
    if pixels is None:
        raise _damaged(archive, batch, f"its pixels are not uint8 ({ROWS}, 3072)")
    if not (
        isinstance(labels, list)
        and len(labels) == ROWS
        and all(isinstance(label, int) and 0 <= label < len(CLASSES) for label in labels)
    ):
        raise _damaged(archive, batch, f"its labels are not {ROWS} integers from 0 to 9")
    images = np.ascontiguousarray(pixels.reshape(ROWS, 3, 32, 32).transpose(0, 2, 3, 1))
    for row, label in enumerate(labels):
        yield Item(f"{batch} row {row}", partial(_row, images, row), label)


def _pixels(data: Any) -> Pixels | None:
    """Flatten an unpickled uint8 array (`ROWS`, 3072); return None for other data."""
    match data:
        case _Inert(state=(1, shape, _Inert(given=(b"u1", *_)), False, bytes(content))):
            if shape == (ROWS, 3072) and len(content) == ROWS * 3072:
                return np.frombuffer(content, np.uint8)
    return None


def _row(images: Pixels, row: int, wanted: Wanted) -> Pixels:
    pixels: Pixels = images[row]
    return pixels


def _damaged(archive: Path, member: str, why: str) -> UserError:
    return UserError(f"{archive} is not the official CIFAR-10 ({member}: {why}): fetch {URL} again")


class _Inert:
    """A substitute for an object that numpy would build. It only stores the pickled arguments."""

    state: Any = None

    def __init__(self, *given: Any) -> None:
        self.given = given

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _PartsOnly(pickle.Unpickler):
    """An unpickler that accepts only the names that occur in arrays pickled by Python 2.

    A pickle can call any function or class that it names. Even a numpy dtype is not safe: with a
    crafted dtype, arrays read memory at addresses that the pickle chooses.
    """

    known = frozenset(
        {("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")}
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.known:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return _Inert


def _is_official(member: str, content: bytes) -> bool:
    return hashlib.md5(content, usedforsecurity=False).hexdigest() == MD5[member]


def _unpickled(read: Read, archive: Path, member: str) -> dict[Any, Any]:
    """Return the content of a pickle in the archive, after verifying the checksum of the pickle."""
    # This is outside of the try block below, because a broken archive is not a broken pickle.
    pickled = read(member)
    if pickled is None:
        raise _damaged(archive, member, "it is missing")
    if not _is_official(member, pickled):
        raise _damaged(archive, member, "its MD5 differs")
    try:
        content = _PartsOnly(io.BytesIO(pickled), encoding="bytes").load()
    except Exception as error:  # a malformed pickle raises many types of errors
        raise _damaged(archive, member, f"its pickle is refused ({error})") from None
    if not isinstance(content, dict):
        raise _damaged(archive, member, "its pickle is not a dictionary")
    return content
