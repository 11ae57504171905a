"""The parts that all data sources share: the names of splits, stamps of files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mezzotint.data.images import Pixels, Wanted
from mezzotint.data.naming import WORDS, canonical, shown
from mezzotint.data.tree import LeftOut
from mezzotint.data.values import Bounds, Values
from mezzotint.errors import UserError, without_controls

if TYPE_CHECKING:
    from mezzotint.data.columns import Column
    from mezzotint.data.tables import Tabled

UNLABELLED = -1
"""The label of every image in a source without classes; as an index it fails, by intent."""

SPLITS = tuple(word for words in WORDS.values() for word in words)
"""The names by which a file prefix is known as a split."""


@dataclass(frozen=True)
class Item:
    """One image, not yet decoded.

    `decode(wanted)` returns (H, W, C), may run on any thread, and raises `UnreadableImage`. It may
    leave out what is wanted: whoever calls it converts the channels and scales the image. `label`
    is the class from 0, or `UNLABELLED`. `file` gives the image's file, by its path or its bytes,
    where there is one.
    """

    name: str
    decode: Callable[[Wanted], Pixels]
    label: int
    file: Callable[[], Path | bytes] | None = None


@dataclass(frozen=True)
class Source:
    r"""Images in a fixed order, and where they came from.

    Attributes:
        name: for people, and for the name of the entry in the cache.
        key: what JSON can hold, and changes whenever the images may have; its "kind" is the
            source's name in `SOURCES`.
        classes: the names of the classes, empty where there are no labels. Control characters
            in them, and bytes that are not UTF-8, are written as ``\x1b``.
        count: how many images.
        items: yields `count` items, each time from the first, and fetches what must be fetched
            before it returns.
        notes: what is converted, a line each.
        files: whether each image is the content of a file, which `Item.file` gives.
        entry: the folder of the cache that holds the images prepared at their own size already.
        layout: what was recognised, in words.
        left_out: the files beside the images, by the reason why they are left out.
        warnings: what may have been meant otherwise.
        values: from the range that the user states, or None, to what the values stand for, and
            notes; None where the type of an image tells that: uint8, or uint16 from 0 to 65535.
        columns: what else is known of the images, each with a value for every item.
        table: gives the columns that a user may name; None where there are none.
    """

    name: str
    key: dict[str, Any]
    classes: tuple[str, ...]
    count: int
    items: Callable[[], Iterator[Item]]
    notes: tuple[str, ...] = ()
    files: bool = False
    entry: Path | None = None
    layout: str = ""
    left_out: tuple[LeftOut, ...] = ()
    warnings: tuple[str, ...] = ()
    values: Callable[[Bounds | None], tuple[Values, tuple[str, ...]]] | None = None
    columns: tuple[Column, ...] = ()
    table: Tabled | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(map(without_controls, self.classes)))


@dataclass(frozen=True)
class Kind:
    """A kind of data source.

    Attributes:
        written: how a person writes it: a word (`glyphs`), a prefix and what follows
            (`hub:OWNER/NAME`), or, where it is a path, what is at the path (`a .zip`).
        open: what was written and a split to the source. A path comes absolute, links resolved.
            It raises UserError where there is no such split (`no_split`), or what is written
            cannot be read.
        takes: whether an absolute path, which exists, is of this kind; None where no path is.
        plain: as `open`, for images that are wanted without labels: what stands in the way of
            labels alone is not refused, and gives no labels. None where `open` does.
    """

    written: str
    open: Callable[[str, str], Source]
    takes: Callable[[Path], bool] | None = None
    plain: Callable[[str, str], Source] | None = None


def stamp(path: Path, name: str | None = None) -> list[str | int]:
    """[name, size in bytes, modification time in ns] of a file, as a key holds it."""
    try:
        stat = path.stat()
    except OSError:  # a dangling link: the decoder will say so by name
        return [name or str(path), -1, -1]
    return [name or str(path), stat.st_size, stat.st_mtime_ns]


def split_names(split: str) -> tuple[str, ...]:
    """The names a split goes by, its own first: validation is also called val, valid ..."""
    words = WORDS.get(canonical(split), (split,))
    return (split, *(word for word in words if word != split))


class Unlabelled(UserError):
    """Raised for what makes labels impossible, but not images."""


class NoSplit(UserError):
    """A split that the data does not have; nothing else is wrong with the data."""


def no_split(data: str, split: str, existing: Iterable[str]) -> NoSplit:
    """The error for a split that `data` lacks, naming those that it has."""
    return NoSplit(f"{data} has no split {split!r}: it has {shown(list(existing), 10)}")
