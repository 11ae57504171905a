"""Find the data source for the `data` argument of a user."""

import difflib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mezzotint.data.formats import JPEG
from mezzotint.data.reading import UnreadableImage, passing, read_head
from mezzotint.data.source import Kind, Source
from mezzotint.data.sources import SOURCES
from mezzotint.errors import UserError


def find_source(data: str, split: str = "train") -> Source:
    """Return the source for `data`.

    Args:
        data: `glyphs`, `cifar10`, `hub:OWNER/NAME` (a data set of parquet files on the Hugging Face
            Hub, fetched into the hub's own cache), `array:FINGERPRINT` (images that `prepare` was
            given in memory), or a path. A path may be the official CIFAR-10 archive, extracted or
            not, or a folder that contains it; the idx files of MNIST; a zip or a tar; a parquet
            file, a folder of parquet files, or a clone of a repository on the hub that holds
            parquet files; a .npy or .npz file of images; or a folder of images (see `data.layout`).
            Entries that you add to `SOURCES` may accept other forms. Write `./cifar10` for a folder
            that has the name of a data set.
        split: `train`, `test`, `validation` ...; the source decides which of them exist.

    Raises:
        UserError: If no data or no split has that name, labels are faulty, or the source is visibly
            damaged or cannot be fetched.
    """
    place, kind = recognise(data)
    return opened(place, kind, split)


def as_text(data: str | os.PathLike[str]) -> str:
    """Return data as text.

    A Path object becomes an absolute path, which cannot be mistaken for the name of a data set.
    Raises UserError for any other type.
    """
    if isinstance(data, os.PathLike):
        return str(Path(os.path.expanduser(data)).absolute())
    if not isinstance(data, str):
        raise UserError(f"`data` is of type {type(data).__name__}: give a name or a path")
    return data


def opened(place: str, kind: Kind, split: str, conditional: bool = True) -> Source:
    """Open a source, given the place and the kind that `recognise` returned.

    If ``conditional`` is False, faulty labels are ignored. Raises UserError if there is no such
    split, the source is visibly damaged or cannot be fetched, or labels are faulty and not ignored.
    """
    open_as = kind.open if conditional or kind.plain is None else kind.plain
    return open_as(place if kind.takes is None else str(Path(place).resolve()), split)


def recognise(data: str) -> tuple[str, Kind]:
    """Return the name or the absolute path of `data`, and its kind.

    Raises:
        UserError: If no data has that name, or a path holds no data of a known kind.
    """
    for kind in SOURCES.values():
        if kind.takes is None and _is_name(data, kind.written):
            return data, kind
    path = Path(os.path.expanduser(data)).absolute()
    try:
        if not data or not path.exists():
            raise _unknown(data)
        for kind in SOURCES.values():
            if kind.takes is not None and kind.takes(path):
                return str(path), kind
    except OSError as error:  # such as a missing permission, or a name that is too long
        raise passing(str(path), error) from None
    known = ", ".join(kind.written for kind in SOURCES.values() if kind.takes)
    raise UserError(f"{data} is not a data set: give {known}")


def jpegs(data: str, split: str) -> int:
    """Return the number of images in a split that begin with the first bytes of a JPEG file.

    A broken link, or a file that is damaged in its archive, does not count. Raises UserError if the
    data or the split does not exist, the source is visibly damaged or cannot be fetched, or a
    temporary fault prevents reading a file.
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
    """Return whether `data` is a name of the form ``written``, and not a path.

    If ``written`` has a prefix with a colon (`hub:OWNER/NAME`), `data` must begin with the prefix.
    If ``written`` is a word (`glyphs`), `data` must equal the word.
    """
    word, colon, _ = written.partition(":")
    return data.startswith(word + colon) if colon else data == word


def _unknown(data: str) -> UserError:
    names = [kind.written for kind in SOURCES.values() if kind.takes is None]
    beside = []
    with suppress(OSError, ValueError):
        beside = [str(path) for path in Path(data).parent.iterdir()]
    near = difflib.get_close_matches(data.lower(), names, n=1)
    near = near or difflib.get_close_matches(data, beside, n=1, cutoff=0.75)
    asked = [name for name in names if not name.startswith("array:")]  # these come from `prepare`
    known = f"{', '.join(asked)} or a path that exists"
    hint = f"did you mean {near[0]}?" if near else f"give {known}"
    return UserError(f"there is no data set, file or folder {data!r}: {hint}")
