"""The idx files of MNIST, Fashion-MNIST, KMNIST and EMNIST, plain or compressed by gzip."""

import gzip
import io
import re
import struct
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from mezzotint.data.images import Pixels, Wanted
from mezzotint.data.labels import class_names
from mezzotint.data.naming import canonical, shown
from mezzotint.data.reading import UnreadableImage, check_size, read_file
from mezzotint.data.source import UNLABELLED, Item, Kind, Source, no_split, stamp
from mezzotint.errors import UserError

_NAME = re.compile(r"(.*?)(train|t10k|test)-(images|labels)[-.]idx[13]-ubyte(?:\.gz)?", re.I)
_SPLITS = {"train": "train", "t10k": "test", "test": "test"}
_MOST = 1 << 30  # limit for an unpacked file, in bytes, twice the largest published file
_ROTATED = "emnist"  # its images are stored column by column

Files = dict[str, dict[str, Path]]


def mnist(data: str, split: str) -> Source:
    """Return the images of one split of a folder of idx files; they are grey.

    Raises:
        UserError: If there is no such split; if a file is missing, damaged, empty or not an idx
            file; or if there are several data sets.
    """
    places = _places(Path(data))
    if len(places) > 1:
        names = shown([place.relative_to(data).as_posix() for place in places])
        raise UserError(f"{data} holds several data sets ({names}): give the path of one of them")
    files = _files(places[0]) if places else {}
    if canonical(split) not in files:
        raise no_split(data, split, files)
    split = canonical(split)
    own = files[split]
    if "images" not in own:
        raise UserError(f"{data} holds the labels of {split} without its images: add the images")
    shape = _read(own["images"], 3)[0]
    if 0 in shape:
        raise UserError(f"{own['images']} holds no images: fetch it again")
    labels: list[int] = []
    classes: tuple[str, ...] = ()
    if "labels" in own:
        numbers = np.frombuffer(_read(own["labels"], 1)[1], np.uint8)
        if len(numbers) != shape[0]:
            raise UserError(
                f"{own['labels']} has {len(numbers)} labels for {shape[0]} images: fetch both "
                "files again"
            )
        labels, classes = numbers.tolist(), class_names(str(own["labels"]), numbers)
    items = partial(_items, own["images"], shape, labels)
    key = {"kind": "mnist", "split": split, "files": [stamp(file) for file in own.values()]}
    return Source(
        f"{Path(data).name}-{split}", key, classes, shape[0], items, layout="MNIST's idx files"
    )


def _files(folder: Path) -> Files:
    """Return the files of a folder by split, and by whether they hold images or labels."""
    found: Files = {}
    first: tuple[str, Path] | None = None
    for path in sorted(folder.iterdir()):
        if path.is_file() and (match := _NAME.fullmatch(path.name)):
            split = found.setdefault(_SPLITS[match[2].lower()], {})
            same = split.setdefault(match[3].lower(), path)
            first = first or (match[1].lower(), path)
            other = same if match[1].lower() == first[0] else first[1]
            if other.name.removesuffix(".gz") != path.name.removesuffix(".gz"):
                raise UserError(
                    f"{folder} holds {other.name} and {path.name}: keep one data set in a folder"
                )
    return found


def _places(path: Path) -> list[Path]:
    """Return the folders of idx files: the path, else its subfolder ``raw``, else all ``*/raw``."""
    for folders in ([path], [path / "raw"], sorted(path.glob("*/raw"))):
        if found := [folder for folder in folders if _holds_idx(folder)]:
            return found
    return []


def _holds_idx(folder: Path) -> bool:
    return folder.is_dir() and any(_NAME.fullmatch(file.name) for file in folder.iterdir())


def _takes(path: Path) -> bool:
    return path.is_dir() and bool(_places(path))


KIND = Kind("a folder of MNIST's idx files", mnist, _takes)


def _read(path: Path, axes: int) -> tuple[tuple[int, ...], bytes]:
    """Return the shape and the bytes of an idx file."""
    try:
        content = read_file(path, _MOST)
        if content.startswith(b"\x1f\x8b"):
            with gzip.open(io.BytesIO(content)) as stream:
                content = stream.read(_MOST + 1)
        check_size(len(content), _MOST)
        if content[:4] != bytes([0, 0, 8, axes]):
            raise ValueError(f"it is not an idx file of bytes with {axes} axes")
        shape = struct.unpack_from(f">{axes}I", content, 4)
        values = content[4 + 4 * axes :]
        if len(values) != np.prod(shape):
            raise ValueError(f"its shape is {shape}, but it holds {len(values):,} bytes")
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        if isinstance(error, UserError) and not isinstance(error, UnreadableImage):
            raise
        raise UserError(f"{path} is damaged ({error}): fetch it again") from None
    return shape, values


def _items(path: Path, shape: tuple[int, ...], labels: list[int]) -> Iterator[Item]:
    images = np.frombuffer(_read(path, 3)[1], np.uint8).reshape(shape)
    if path.name.lower().startswith(_ROTATED):
        images = images.transpose(0, 2, 1)
    for row, grey in enumerate(images):
        label = labels[row] if labels else UNLABELLED
        yield Item(f"{path.name} row {row}", partial(_decode, grey), label)


def _decode(grey: Pixels, wanted: Wanted) -> Pixels:
    return grey[..., None]
