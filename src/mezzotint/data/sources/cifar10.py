"""CIFAR-10 (Krizhevsky, 2009) from its official archive, downloaded or given.

The archive is never extracted, and its pickles are read by an unpickler that knows numpy arrays and
nothing else.
"""

import io
import pickle
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mezzotint.data.images import Pixels, fit
from mezzotint.data.source import Item, Kind, Source, no_split, stamp
from mezzotint.errors import UserError
from mezzotint.storage.cache import download

NAME = "cifar10"
URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
ARCHIVE = "cifar-10-python.tar.gz"
SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
BATCHES = {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)}
ROWS = 10_000
"""Images in each batch of the archive."""


def cifar10(data: str, split: str) -> Source:
    """CIFAR-10: 50,000 images to train and 10,000 to test, 32x32, in the official order.

    Args:
        data: `cifar10`, which downloads the official archive into the cache when first needed and
            checks its SHA-256; or the path of a copy, or of a folder that contains it.
        split: train or test.

    Raises:
        UserError: another split; later, from `items()`, a failed download or a damaged archive.
    """
    if split not in BATCHES:
        raise no_split("cifar10", split, BATCHES)
    archive = None if data == NAME else _copy(Path(data))
    origin = {"sha256": SHA256} if archive is None else {"file": stamp(archive)}
    key = {"kind": "cifar10", "split": split, **origin}
    count = ROWS * len(BATCHES[split])
    return Source(f"cifar10-{split}", key, CLASSES, count, partial(_open, split, archive))


def _copy(path: Path) -> Path:
    return path / ARCHIVE if path.is_dir() else path


def _takes(path: Path) -> bool:
    return _copy(path).is_file() and _copy(path).name.lower().endswith((".tar.gz", ".tgz"))


KIND = Kind(NAME, cifar10)
COPY = Kind(f"a copy of {ARCHIVE}", cifar10, _takes)


def _open(split: str, archive: Path | None) -> Iterator[Item]:
    instead = f"give the path of your own {ARCHIVE} as the data"
    return _items(split, archive or download(URL, SHA256, ARCHIVE, instead))


def _items(split: str, archive: Path) -> Iterator[Item]:
    try:
        with tarfile.open(archive, "r:gz") as tar:
            names = _unpickled(tar, archive, "batches.meta").get(b"label_names")
            if names != [name.encode() for name in CLASSES]:
                raise _damaged(archive, "batches.meta", "its class names are not the official ones")
            for batch in BATCHES[split]:
                yield from _batch(tar, archive, batch)
    except (OSError, EOFError, tarfile.TarError) as error:
        raise UserError(f"{archive} is not a whole tar.gz ({error}): fetch {URL} again") from None


def _batch(tar: tarfile.TarFile, archive: Path, batch: str) -> Iterator[Item]:
    content = _unpickled(tar, archive, batch)
    data, labels = content.get(b"data"), content.get(b"labels")
    if not (isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.shape == (ROWS, 3072)):
        raise _damaged(archive, batch, f"its pixels are not uint8 ({ROWS}, 3072)")
    if not (
        isinstance(labels, list)
        and len(labels) == ROWS
        and all(isinstance(label, int) and 0 <= label < len(CLASSES) for label in labels)
    ):
        raise _damaged(archive, batch, f"its labels are not {ROWS} integers from 0 to 9")
    images = np.ascontiguousarray(data.reshape(ROWS, 3, 32, 32).transpose(0, 2, 3, 1))
    for row, label in enumerate(labels):
        yield Item(f"{batch} row {row}", partial(_row, images, row), label)


def _row(images: Pixels, row: int, size: int | None) -> Pixels:
    return fit(images[row], size)


def _damaged(archive: Path, member: str, why: str) -> UserError:
    return UserError(f"{archive} is not the official CIFAR-10, {member}: {why}; fetch {URL} again")


class _ArraysOnly(pickle.Unpickler):
    """Builds numpy arrays, as Python 2 wrote them, and refuses every other name.

    A pickle is a program: whatever it can name, it can call.
    """

    known = {  # noqa: RUF012 (pickle's own class attributes are no better)
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.known[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}") from None


def _unpickled(tar: tarfile.TarFile, archive: Path, member: str) -> dict[Any, Any]:
    try:
        stream = tar.extractfile(f"cifar-10-batches-py/{member}")
    except KeyError:
        stream = None
    if stream is None:
        raise _damaged(archive, member, "it is missing")
    pickled = stream.read()  # before the guard below: a broken archive is not a broken pickle
    try:
        content = _ArraysOnly(io.BytesIO(pickled), encoding="bytes").load()
    except Exception as error:  # a malformed pickle raises whatever its opcodes stumble upon
        raise _damaged(archive, member, f"its pickle is refused ({error})") from None
    if not isinstance(content, dict):
        raise _damaged(archive, member, "its pickle is no dictionary")
    return content
