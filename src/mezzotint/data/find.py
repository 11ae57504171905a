"""Find the data source that the user's `data` argument means."""

import difflib
import os
from collections.abc import Callable
from pathlib import Path

from mezzotint.data.formats import JPEG
from mezzotint.data.reading import UnreadableImage, read_head
from mezzotint.data.source import Kind, Source
from mezzotint.data.sources import SOURCES
from mezzotint.errors import UserError


def find_source(data: str, split: str = "train") -> Source:
    """The source that `data` means.

    Args:
        data: `glyphs`, `cifar10`, `hub:OWNER/NAME` (a data set of parquet files on the Hugging Face
            Hub, fetched into its own cache), `array:FINGERPRINT` (images that `prepare` was given
            in memory), or a path: the official CIFAR-10 archive (.tar.gz), extracted or not, or a
            folder that contains it, the idx files of MNIST, a zip or a tar, a parquet file, a
            folder of parquet files or a clone of a repository of the hub that has one, a .npy or
            .npz file of images, or a folder of images (see `data.layout`); or anything that an
            added entry of `SOURCES` takes. Write `./cifar10` for a folder that has the name of a
            data set.
        split: `train`, `test`, `validation` ...; which exist depends on the source.

    Raises:
        UserError: If there is nothing of that name or no such split, or if the source is visibly
            damaged or cannot be fetched.
    """
    place, kind = recognise(data)
    return opened(place, kind, split)


def opened(place: str, kind: Kind, split: str, conditional: bool = True) -> Source:
    """Open the source that `recognise` found; faults of labels are refused if `conditional`.

    Raises as `find_source`.
    """
    open_as = kind.open if conditional or kind.plain is None else kind.plain
    return open_as(place if kind.takes is None else str(Path(place).resolve()), split)


def recognise(data: str) -> tuple[str, Kind]:
    """Return a name or absolute path that finds `data` from any folder, and the kind of `data`.

    Raises:
        UserError: If there is nothing of that name.
    """
    for kind in SOURCES.values():
        if kind.takes is None and _is_name(data, kind.written):
            return data, kind
    path = Path(os.path.expanduser(data)).absolute()
    if not data or not path.exists():
        raise _unknown(data)
    for kind in SOURCES.values():
        if kind.takes is not None and kind.takes(path):
            return str(path), kind
    known = ", ".join(kind.written for kind in SOURCES.values() if kind.takes)
    raise UserError(f"{data} is not a data set: give {known}")


def jpegs(data: str, split: str) -> int:
    """Count the images of a split whose first bytes are those of a JPEG file.

    Raises as `find_source`, and UserError if a file cannot be read.
    """
    place, kind = recognise(data)
    source = opened(place, kind, split, conditional=False)
    if not source.files:
        return 0
    return sum(item.file is not None and _begins_as_jpeg(item.file) for item in source.items())


def _begins_as_jpeg(file: Callable[[], Path | bytes]) -> bool:
    try:
        found = file()
        head = found if isinstance(found, bytes) else read_head(found, len(JPEG))
        return head.startswith(JPEG)
    except UnreadableImage:
        return False


def _is_name(data: str, written: str) -> bool:
    """Return whether `data` equals a kind's word, or has its prefix before a colon."""
    word, colon, _ = written.partition(":")
    return data.startswith(word + colon) if colon else data == word


def _unknown(data: str) -> UserError:
    names = [kind.written for kind in SOURCES.values() if kind.takes is None]
    near = difflib.get_close_matches(data.lower(), names, n=1)
    known = f"{', '.join(names)} or a path that exists"
    hint = f"did you mean {near[0]}?" if near else f"give {known}"
    return UserError(f"there is no data set, file or folder {data!r}: {hint}")
