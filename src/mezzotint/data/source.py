"""The parts that all data sources share, such as `Source`, `stamp` and the names of splits."""

from __future__ import annotations

import os
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
"""The label of every image in a source without classes; no class has this number."""

SPLITS = tuple(word for words in WORDS.values() for word in words)
"""The prefixes of file names that stand for a split."""


@dataclass(frozen=True)
class Item:
    """One image, not yet decoded.

    `decode(wanted)` returns the pixels (H, W, C), and raises `UnreadableImage` if the image cannot
    be decoded. `decode` may run in any thread. `decode` may ignore the channels and the size in
    ``wanted``, because the caller converts the image anyway. If `decode` is an `ImageFile`, other
    processes may decode the file. `label` is the class number, or `UNLABELLED`. `file` returns the
    path or the bytes of the image's file, if the image has one.
    """

    name: str
    decode: Callable[[Wanted], Pixels]
    label: int
    file: Callable[[], Path | bytes] | None = None


@dataclass(frozen=True)
class Source:
    r"""Images in a fixed order, with facts about their origin.

    Attributes:
        name: a readable name, also used for the entry in the cache.
        key: a JSON value that changes whenever the images may have changed. Its "kind" is the
            source's name in `SOURCES`.
        classes: the names of the classes; empty without labels. Control characters, and bytes that
            are not UTF-8, are written as escapes such as ``\x1b``.
        count: the number of images.
        items: returns an iterator over all `count` items. The call itself downloads missing files.
        notes: descriptions of conversions, one line each.
        files: whether each image has a file, which `Item.file` returns.
        entry: the folder of the cache that already holds the images at their original size, or
            None.
        layout: a description of the layout of the files.
        left_out: the files that the source leaves out, grouped by the reason.
        warnings: the decisions that may not be what the user meant.
        values: a function that takes the range stated by the user, or None, and returns `Values`
            and notes. If `values` itself is None, the range is 0 to 255 for uint8 and 0 to 65535
            for uint16, and the user must state the range for float32.
        columns: the conditions of the images, each with a value for every item.
        table: returns the columns that a user may name (see `Tabled`); None if there are no
            columns.
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
        written: the form of the `data` argument in messages: a word (`glyphs`), a prefix and a name
            (`hub:OWNER/NAME`), or for a path the kind of file (`a .zip`).
        open: a function that returns the source, given the `data` argument and a split. Paths are
            absolute, with links resolved. The function raises UserError if there is no such split
            (`no_split`), or if the data cannot be read.
        takes: a function that returns whether an existing absolute path is of this kind; None if
            the `data` argument is a word or a prefix, not a path.
        plain: the same as `open`, for a caller that needs no labels: faulty labels are ignored, not
            refused. None if `open` ignores faulty labels anyway.
    """

    written: str
    open: Callable[[str, str], Source]
    takes: Callable[[Path], bool] | None = None
    plain: Callable[[str, str], Source] | None = None


def stamp(path: Path | str, name: str | None = None) -> list[str | int]:
    """Return [name, size in bytes, modification time in ns] of a file, for a key of the cache."""
    try:
        stat = os.stat(path)
    except OSError:  # a broken link; the decoder reports it by name
        return [name or str(path), -1, -1]
    return [name or str(path), stat.st_size, stat.st_mtime_ns]


def split_names(split: str) -> tuple[str, ...]:
    """Return all names of a split, the given one first: validation is also called val, valid ..."""
    words = WORDS.get(canonical(split), (split,))
    return (split, *(word for word in words if word != split))


class Unlabelled(UserError):
    """Raised for a fault of labels that leaves the images usable."""


class NoSplit(UserError):
    """Raised for a split that the data does not have; the rest of the data is valid."""


def no_split(data: str, split: str, existing: Iterable[str]) -> NoSplit:
    """Make the error for a split that `data` lacks; the message names the splits that exist."""
    return NoSplit(f"{data} has no split {split!r}: choose {shown(list(existing), 10)}")
