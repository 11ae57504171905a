"""Read the columns of ``metadata.csv`` or ``metadata.jsonl`` beside images.

The loader ``imagefolder`` of Hugging Face datasets defines this format. `with_columns` turns the
columns that a user names into conditions.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import PurePosixPath
from typing import Any, TypeAlias

import numpy as np

from mezzotint.data import columns
from mezzotint.data.columns import Array
from mezzotint.data.labels import CAPTIONS, are_classes
from mezzotint.data.naming import natural, nfc, shown
from mezzotint.data.source import Item, Source
from mezzotint.data.tree import Names, Tree
from mezzotint.errors import UserError, counted, nearest
from mezzotint.storage.parse import parsed

METADATA = ("metadata.csv", "metadata.jsonl")
FILE = "file_name"
SEPARATORS = "|;"  # between several labels in one cell of a table


@dataclass(frozen=True)
class Asked:
    """The columns that a user names.

    Attributes:
        condition: Columns of numbers.
        labels_from: A column of labels that replace the classes of the source; "" for none.
        image_condition: A column of images; "" for none.
    """

    condition: tuple[str, ...] = ()
    labels_from: str = ""
    image_condition: str = ""

    @staticmethod
    def of(condition: Any, labels_from: Any, image_condition: Any) -> Asked:
        """Parse the arguments that name columns; commas separate several columns in a string.

        Raises UserError if an argument is neither a name nor a list of names.
        """
        words = [condition] if isinstance(condition, str) else condition or ()
        if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
            raise UserError(
                f"`condition` is {condition!r:.60}: name columns of numbers, such as ('age',); an "
                "array can be used only with images in memory"
            )
        for name, value in {"labels_from": labels_from, "image_condition": image_condition}.items():
            if not isinstance(value, str | None):
                raise UserError(f"`{name}` is {value!r:.60}: name a column")
        names = [name.strip() for word in words for name in word.split(",") if name.strip()]
        return Asked(tuple(names), labels_from or "", image_condition or "")

    def __bool__(self) -> bool:
        return bool(self.condition or self.labels_from or self.image_condition)


NOTHING = Asked()


@dataclass(frozen=True, eq=False)
class Table:
    """Further data about the images of a source.

    Attributes:
        place: The name of the table in messages.
        values: The columns by name, each with one value for each index in ``rows``.
        rows: The indices of the source's images that the table describes. Any other images of the
            source serve only as conditions.
        image: A function that takes a value of a column of images, and returns a decoder for the
            image and a string that identifies the image. It is None for a source that cannot have
            columns of images.
    """

    place: str
    values: Mapping[str, Sequence[Any]]
    rows: Sequence[int]
    image: Callable[[Any], tuple[Callable[[], Array], str]] | None = None

    def column(self, name: str) -> Sequence[Any]:
        """Return a column. Raises UserError if there is no column of that name."""
        if name not in self.values:
            known = [each for each in self.values if each != FILE]
            hint = nearest(name, known) or f": choose {shown(known, 10) or 'another file'}"
            raise UserError(f"{self.place} has no column {name!r}{hint}")
        return self.values[name]


class Lazy(Mapping[str, Sequence[Any]]):
    """Columns that are read when they are looked up."""

    def __init__(self, names: Sequence[str], read: Callable[[str], Sequence[Any]]) -> None:
        self.names, self.read = names, read

    def __getitem__(self, name: str) -> Sequence[Any]:
        return self.read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names


Tabled: TypeAlias = Callable[[str], Table]
"""A function that takes the name of a column of images ("" for none), and returns the `Table`.

The images that this column names are conditions, so they are not rows of the table.
"""


def with_columns(source: Source, asked: Asked) -> Source:
    """Return a source with the columns that a user names, as conditions or as labels.

    Raises UserError if the source has no table, or the table has errors; a column does not exist,
    or is named twice; a column of numbers has a value that is not a finite number, or has lists of
    different lengths; an image is missing, or the source cannot have columns of images; or a column
    of labels has no labels, or too many to be classes.
    """
    if not asked:
        return source
    if source.table is None:
        raise UserError(
            f"{source.name} has no columns: give a folder with {' or '.join(METADATA)} or "
            "parquet files, or pass arrays to mz.prepare"
        )
    table = source.table(asked.image_condition)
    found = [
        columns.numbers(name, _numbers(table, name, table.column(name))) for name in asked.condition
    ]
    if asked.image_condition:
        found.append(_images(table, asked.image_condition))
    names: tuple[str, ...] = source.classes
    labels: Sequence[int] | None = None
    if asked.labels_from:
        sets = [_labels(value) for value in table.column(asked.labels_from)]
        tags = tuple(sorted({name for each in sets for name in each}, key=natural))
        _check_labels(table, asked.labels_from, sets, tags)
        number = {name: k for k, name in enumerate(tags)}
        if all(len(each) == 1 for each in sets):
            names, labels = tags, [number[each[0]] for each in sets]
        else:
            rows = np.zeros((len(sets), len(tags)), np.uint8)
            for i, each in enumerate(sets):
                rows[i, [number[name] for name in each]] = 1
            found.append(columns.tags(asked.labels_from, tags, rows))
            names, labels = (), [-1] * len(sets)
    if twice := {each.name for each in found if [f.name for f in found].count(each.name) > 1}:
        raise UserError(f"the condition {min(twice)!r} is named twice: name it once")
    return replace(
        source,
        classes=names,
        count=len(table.rows),
        items=lambda: _items(source, table.rows, labels),
        columns=tuple(found),
        entry=None,
        key={**source.key, "columns": [[c.name, c.digest] for c in found], "labels": labels},
    )


def _items(source: Source, rows: Sequence[int], labels: Sequence[int] | None) -> Iterator[Item]:
    """Yield the source's items at the indices ``rows``, with new labels if ``labels`` is given."""
    place = {row: i for i, row in enumerate(rows)}
    for row, item in enumerate(source.items()):
        if row in place:
            yield item if labels is None else replace(item, label=labels[place[row]])


def _numbers(table: Table, name: str, values: Sequence[Any]) -> Array:
    """Return a column as numbers (N, D); each value is a number or a list of D numbers."""
    found: list[list[float]] = []
    for i, value in enumerate(values):
        try:
            row = [float(each) for each in (value if isinstance(value, list | tuple) else [value])]
        except (TypeError, ValueError):
            raise UserError(
                f"{table.place}: {name!r} of {_called(table, i)} is {value!r:.40}, not a number: "
                "correct it, or name another column"
            ) from None
        if not all(map(math.isfinite, row)):
            raise UserError(
                f"{table.place}: {name!r} of {_called(table, i)} is {value!r:.40}: give a finite "
                "number, or remove the image"
            )
        if found and len(row) != len(found[0]):
            raise UserError(
                f"{table.place}: {name!r} of {_called(table, i)} has "
                f"{counted(len(row), 'number')}, but the first image has {len(found[0])}: give "
                "each image equally many numbers"
            )
        found.append(row)
    return np.array(found)


def _images(table: Table, name: str) -> columns.Column:
    if table.image is None:
        raise UserError(f"no column of {table.place} has images: leave out `image_condition`")
    made = [table.image(value) for value in table.column(name)]
    digest = json.dumps([each for _, each in made])
    return columns.images(name, digest, [decode for decode, _ in made])


def _labels(value: Any) -> list[str]:
    """Return the labels in a value: a list of labels, or a text that separates them by | or ;."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return []
    if isinstance(value, list | tuple | set):
        return [nfc(str(each)) for each in value if each is not None]
    words = [str(value)]
    for mark in SEPARATORS:
        words = [part for word in words for part in word.split(mark)]
    return [nfc(word.strip()) for word in words if word.strip()]


def _check_labels(
    table: Table, name: str, sets: Sequence[Sequence[str]], tags: Sequence[str]
) -> None:
    if not tags:
        raise UserError(f"{table.place}: the column {name!r} has no labels: name another column")
    if not are_classes(len(tags), len(sets)):
        raise UserError(
            f"{table.place}: the column {name!r} has {len(tags):,} different labels for "
            f"{len(sets):,} images: {CAPTIONS}"
        )


def _called(table: Table, i: int) -> str:
    return str(table.values[FILE][i]) if FILE in table.values else f"row {i}"


def of_tree(
    tree: Tree,
    files: Names,
    image_column: str,
    image: Callable[[PurePosixPath], tuple[Callable[[], Array], str]],
) -> Table:
    """Return the table of a split's images, from all metadata files of a tree.

    ``files`` are the images of the split. ``image_column`` is the column that names the images
    given as conditions ("" for none). ``image`` takes the path of an image, and returns a decoder
    for the image and a string that identifies the image. Raises UserError if there is no metadata
    file, if a metadata file cannot be read or has no column ``file_name``, if a row names a missing
    file, if two rows name the same file, or if an image has no row.
    """
    rows, place = _rows(tree)
    there = {*tree.root.every()}
    beside: dict[PurePosixPath, PurePosixPath] = {}
    for path, row in rows.items():
        _there(place, path, there)
        if value := row.get(image_column):  # relative to the image, or else to the table
            table = path.parents[len(PurePosixPath(row[FILE]).parts) - 1]
            near = path.parent / str(value)
            beside[path] = _there(place, near if near in there else table / str(value), there)
    given = {*beside.values()}
    mine = [i for i, path in enumerate(files) if path not in given or path in beside]
    if left := [files[i] for i in mine if files[i] not in rows]:
        raise UserError(
            f"{place} has no rows for {counted(len(left), 'image')} ({shown([*map(str, left)])}): "
            "add their rows, or remove the images"
        )
    names = dict.fromkeys(name for path in rows for name in rows[path])
    values = {name: [rows[files[i]].get(name) for i in mine] for name in names}
    if image_column in values:
        values[image_column] = [beside.get(files[i]) for i in mine]
    return Table(place, values, mine, lambda value: image(_named(place, image_column, value)))


def _named(place: str, column: str, value: Any) -> PurePosixPath:
    if value is None:
        raise UserError(f"{place}: {column!r} is empty for an image: name a file for each image")
    return PurePosixPath(value)


def _there(place: str, path: PurePosixPath, there: set[PurePosixPath]) -> PurePosixPath:
    if path not in there:
        raise UserError(
            f"{place} names {path}, which does not exist: add the file, or remove the row"
        )
    return path


def _rows(tree: Tree) -> tuple[dict[PurePosixPath, dict[str, Any]], str]:
    """Return the metadata of each image file, and the name that messages use for the metadata."""
    found: dict[PurePosixPath, dict[str, Any]] = {}
    places = [
        (folder.path, name)
        for folder in tree.root.walk()
        for name in folder.others
        if name.name.lower() in METADATA
    ]
    if not places:
        raise UserError(
            f"{tree.place} has no {' or '.join(METADATA)}: write one of these files beside the "
            f"images, with the columns {FILE} and the conditions"
        )
    place = f"{tree.place}/{places[0][1]}" if len(places) == 1 else f"the metadata of {tree.place}"
    for folder, name in places:
        for row in _read(tree, name):
            if not isinstance(row, dict) or not isinstance(row.get(FILE), str):
                raise UserError(f"{tree.place}/{name} has no column {FILE}: add it")
            path = folder / row[FILE]
            if path in found:
                raise UserError(f"{tree.place}/{name} names {path} twice: keep one row")
            found[path] = row
    return found, place


def _read(tree: Tree, name: PurePosixPath) -> list[Any]:
    try:
        text = tree.read(name).decode("utf-8-sig")
        if name.suffix.lower() != ".csv":
            return [parsed(line) for line in text.split("\n") if line.strip()]
        header, *rows = [*filter(None, csv.reader(io.StringIO(text, newline="")))] or [[]]
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(
            f"{tree.place}/{name} cannot be read ({error}): save it again as UTF-8"
        ) from None
    if twice := [column for column in header if column and header.count(column) > 1]:
        raise UserError(f"{tree.place}/{name} has two columns {twice[0]!r}: rename one of them")
    if wide := [row for row in rows if any(row[len(header) :])]:
        raise UserError(
            f"{tree.place}/{name} has {counted(len(wide[0]), 'cell')} for {wide[0][0]}, but "
            f"{counted(len(header), 'column')}: put text with a comma in quotation marks"
        )
    return [dict(zip_longest(header, row[: len(header)])) for row in rows]
