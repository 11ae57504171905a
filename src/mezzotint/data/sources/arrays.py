"""Images in a .npy or .npz file, the format in which generated samples are often saved.

A .npy file holds the images. A .npz file holds the images under `arr_0` (as for ADM's evaluator) or
`images`, and the labels, if any, under `arr_1` or `labels`. A .npz file with splits uses the names
of keras: `x_train`, `y_train`, `x_val`, `y_val`, `x_test` and `y_test`. Other arrays are ignored.
Images are (N, H, W, C), or (N, H, W) if grey, of integers or floating-point numbers. Nothing is
unpickled. A .npy file is memory-mapped, and a .npz file is read in blocks.
"""

import math
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt

from mezzotint.data.images import Pixels, Wanted
from mezzotint.data.labels import are_names, check_labels, class_names, named
from mezzotint.data.naming import canonical, shown
from mezzotint.data.reading import PIXELS, guarded
from mezzotint.data.source import UNLABELLED, Item, Kind, Source, no_split, stamp
from mezzotint.data.values import EIGHT_BIT, Bounds, Values, stated
from mezzotint.errors import UserError

_IMAGES = ("arr_0", "images")
_LABELS = ("arr_1", "labels")
_KERAS = {
    split: (f"x_{word}", f"y_{word}")
    for split, word in {"train": "train", "test": "test", "validation": "val"}.items()
}
_BLOCK = 1 << 24  # bytes read at a time


def arrays(data: str, split: str, conditional: bool = True) -> Source:
    """Return the images of a split in a .npy or .npz file, in order.

    If the file has no splits, all its images are for training. Labels are integers, names or
    booleans. If the labels are integers, the classes are called "0", "1" and so on, up to the
    largest label. If ``conditional`` is False, labels that cannot be classes are ignored. Integer
    pixels that all lie in 0 to 255 are taken as 8-bit values, unless the largest value is 1. If
    uint16 pixels exceed 255, they are taken as 16-bit values, 0 to 65535. For all other pixels, the
    caller must pass a range to `values()` of the result.

    Raises:
        UserError: If the split does not exist; the file is damaged or has no images; or the shape
            or type is not one of those that the module's docstring lists. If ``conditional`` is
            True, wrong labels raise UserError too: their number differs from that of the images;
            their split is unclear; a label is negative, too large or not valid text; or there are
            too many different names. A missing or wrong range raises UserError only in `values()`
            of the result.
    """
    path = Path(data)
    images, labels = _find(path, split, conditional)
    _check_shape(images)
    if images.dtype.kind not in "iuf":
        raise UserError(f"{images} is {images.dtype}: give uint8, uint16 or float32")
    try:
        numbers, classes = _classes(labels, images.shape[0]) if labels else (None, ())
    except UserError:
        if conditional:
            raise
        numbers, classes = None, ()
    key = {"kind": "arrays", "file": stamp(path), "split": split, "classes": classes}
    items = partial(_items, images, numbers)
    values = partial(_values, images)
    return Source(f"{path.stem}-{split}", key, classes, images.shape[0], items, values=values)


def _takes(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in (".npy", ".npz")


KIND = Kind("a .npy or .npz of images", arrays, _takes, partial(arrays, conditional=False))


@dataclass(frozen=True)
class _Array:
    """An array in a .npy or .npz file, without its values, as the array's header describes it.

    `key` is the name of the array in a .npz file; None means a .npy file. `start` is the number of
    bytes before the first value.
    """

    path: Path
    key: str | None
    start: int
    shape: tuple[int, ...]
    order: Literal["C", "F"]
    dtype: np.dtype[Any]

    def __str__(self) -> str:
        return f"{self.path} {self.key}" if self.key else str(self.path)

    def blocks(self) -> Iterator[npt.NDArray[Any]]:
        """Yield the array in pieces along its first axis; a Fortran-ordered array is one piece."""
        count, *rest = self.shape
        row = math.prod(rest) * self.dtype.itemsize
        rows = count if self.order == "F" else max(1, _BLOCK // row)
        pieces = [(start, min(start + rows, count)) for start in range(0, count, rows)]
        if self.key is None:
            with _guard(self.path):
                mapped = np.memmap(self.path, self.dtype, "r", self.start, self.shape, self.order)
            for start, stop in pieces:
                yield mapped[start:stop]
            return
        with _opened(self.path, self.key) as (stream, _):
            stream.read(self.start)
            for start, stop in pieces:
                values = np.frombuffer(stream.read((stop - start) * row), self.dtype)
                yield values.reshape([stop - start, *rest], order=self.order)


def _find(path: Path, split: str, conditional: bool) -> tuple[_Array, _Array | None]:
    """Return the images of a split in a file, and their labels; None if there are no labels.

    Labels that could belong to any of several splits are ignored if ``conditional`` is False.

    Raises UserError if the file has no images or, if ``conditional`` is True, labels that could
    belong to any of several splits. Raises `NoSplit` if the file has no such split.
    """
    if path.suffix.lower() == ".npy":
        if canonical(split) != "train":
            raise no_split(str(path), split, ["train"])
        return _header(path, None), None
    with _guard(path), zipfile.ZipFile(path) as archive:
        keys = [name.removesuffix(".npy") for name in archive.namelist()]
    splits = [name for name, (images, _) in _KERAS.items() if images in keys]
    if canonical(split) not in (splits or ["train"]):
        raise no_split(str(path), split, splits or ["train"])
    first, second = _KERAS[canonical(split)] if splits else ("", "")
    image = next((key for key in (first, *_IMAGES) if key in keys), None)
    label = next((key for key in (second, *_LABELS) if key in keys), None)
    if len(splits) > 1 and label in _LABELS:
        if conditional:
            raise UserError(
                f"{path} holds {label}, but images of the splits {', '.join(splits)}: save the "
                f"labels of each split, such as {_KERAS[splits[0]][1]}, instead of {label}"
            )
        label = None
    if image is None:
        raise UserError(
            f"{path} holds {shown(keys, 5) or 'nothing'}: save the images in it under the name "
            + " or ".join(_IMAGES)
        )
    return _header(path, image), _header(path, label) if label else None


def _header(path: Path, key: str | None) -> _Array:
    """Read the header of a .npy file, or of the array ``key`` in a .npz file.

    Raises UserError if the file is damaged, the array holds Python objects, its values have no
    bytes, or its end is missing.
    """
    with _opened(path, key) as (stream, size):
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        else:
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
        array = _Array(path, key, stream.tell(), shape, "F" if fortran else "C", dtype)
        if dtype.hasobject:
            raise UserError(
                f"{array} holds Python objects, which mezzotint does not unpickle: save numbers"
            )
        if not dtype.itemsize:
            raise UserError(
                f"{array} has the dtype {dtype}, with 0 bytes per item: save an array of numbers"
            )
        missing = math.prod(shape) * dtype.itemsize - (size - array.start)
        if missing > 0:
            raise UserError(f"{array} lacks its last {missing:,} bytes: save it again")
    return array


@contextmanager
def _opened(path: Path, key: str | None) -> Iterator[tuple[IO[bytes], int]]:
    """Open a .npy file, or the array `key` in a .npz file; yield the stream and the stream's size.

    The size is in bytes, after decompression.
    """
    with _guard(path):
        if key is None:
            with path.open("rb") as stream:
                yield stream, path.stat().st_size
        else:
            with zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as stream:
                yield stream, archive.getinfo(f"{key}.npy").file_size


def _guard(path: Path) -> AbstractContextManager[None]:
    return guarded(path, path.suffix, "save it again")


def _check_shape(images: _Array) -> None:
    """Raise UserError unless an array has a shape that images can have."""
    found = f"{images} has the shape {images.shape}"
    if any(length < 1 for length in images.shape):
        raise UserError(f"{found}, so it holds no images: save one or more")
    if math.prod(images.shape[1:3]) > PIXELS:
        raise UserError(f"{found}: scale the images to at most {PIXELS:,} pixels each")
    match images.shape:
        case (_, _, _, 1 | 3 | 4):
            return
        case (_, channels, height, width) if channels < min(height, width):
            raise UserError(f"{found}: transpose it to (N, H, W, {channels})")
        case (_, _, 1 | 3 | 4):
            raise UserError(f"{found}, a single image: give (N, H, W, {images.shape[2]})")
        case (_, _, _) | (_, _, _, _):
            return
    raise UserError(f"{found}: give (N, H, W, C), or (N, H, W) if grey")


def _values(images: _Array, bounds: Bounds | None) -> tuple[Values, tuple[str, ...]]:
    """Return the type and range of the values; see `Source.values`."""
    span: tuple[Any, Any] | None = None

    def once() -> tuple[Any, Any]:
        nonlocal span
        span = span or _span(images)
        return span

    if bounds is None and images.dtype.kind in "iu" and images.dtype != np.uint8:
        low, high = once()
        if low >= 0 and high <= 255 and high != 1:
            return EIGHT_BIT, ()
    return stated(str(images), images.dtype, once, bounds)


def _classes(labels: _Array, count: int) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """Return the label of each image, and the names of the classes."""
    keras = str(labels.key).startswith("y_")
    column = keras and labels.shape == (count, 1)  # the shape of CIFAR-10's labels in keras
    check_labels(str(labels), labels.dtype, (count,) if column else labels.shape, count)
    numbers = np.concatenate(list(labels.blocks())).reshape(count)
    if are_names(numbers.dtype):
        return named(str(labels), numbers)
    return numbers, class_names(str(labels), numbers)


def _span(array: _Array) -> tuple[Any, Any]:
    """Return the least and the greatest value of an array, ignoring NaN."""
    spans = [
        (np.fmin.reduce(block, axis=None), np.fmax.reduce(block, axis=None))
        for block in array.blocks()
    ]
    lows, highs = zip(*spans, strict=True)
    return np.fmin.reduce(lows), np.fmax.reduce(highs)


def _items(images: _Array, numbers: npt.NDArray[Any] | None) -> Iterator[Item]:
    row = 0
    for block in images.blocks():
        for i in range(len(block)):
            label = UNLABELLED if numbers is None else int(numbers[row])
            yield Item(f"{images.path.name} row {row}", partial(_row, block, i), label)
            row += 1


def _row(block: npt.NDArray[Any], i: int, wanted: Wanted) -> Pixels:
    pixels = np.array(block[i], order="C")
    return pixels[..., None] if pixels.ndim == 2 else pixels
