"""Labels and class names that are in a file next to the images."""

import csv
from collections.abc import Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any

from mezzotint.data.labels import numbered
from mezzotint.data.naming import nfc, plain
from mezzotint.data.reading import UnreadableImage
from mezzotint.data.source import UNLABELLED, Unlabelled
from mezzotint.data.tree import Folder, Names, Tree
from mezzotint.errors import UserError
from mezzotint.storage.parse import parsed

_TABLES = (".csv", ".tsv", ".txt")
_WIDE = 100  # the largest number of columns of a table that are read
_MANY = 20  # if a folder has more tables, each is taken for the captions or boxes of one image


def dataset_json(
    tree: Tree, chain: Sequence[Folder], files: Names
) -> tuple[list[int], tuple[str, ...]] | None:
    """Return the labels and classes in ``dataset.json``, the file that EDM and StyleGAN write.

    The field ``labels`` of the file is a list of [file, label], or null if there are no labels. EDM
    and StyleGAN also make numbered folders (``00000``, ``00001`` ...), which are not classes.

    Args:
        tree: The files of the data set.
        chain: The folders from the root to the folder of the images. ``dataset.json`` may lie in
            any of them.
        files: The images of the split.

    Returns:
        A label for each image, and the names of the classes. If ``labels`` is null, every label is
        `UNLABELLED` and the names are (). The result is None if there is no such file, or it has no
        field ``labels``. It is also None if ``labels`` is null and a folder of images has a name
        other than a number of 5 or more digits.

    Raises:
        Unlabelled: If the file is not valid JSON, ``labels`` is not a list of [file, label], an
            image has no label, or an image's label is not an integer, is negative, or is too large
            for a class.
    """
    for folder in reversed(chain):
        for name in folder.others:
            content = _json(tree, name) if plain(name.name) == "dataset.json" else None
            if not isinstance(content, dict) or "labels" not in content:
                continue
            if content["labels"] is None:
                numbered = all(f.name.isdigit() and len(f.name) > 4 for f in chain[-1].filled)
                return ([UNLABELLED] * len(files), ()) if numbered else None
            return _edm_labels(tree, folder.path, name, content["labels"], files)
    return None


def _edm_labels(
    tree: Tree, root: PurePosixPath, name: PurePosixPath, labels: Any, files: Names
) -> tuple[list[int], tuple[str, ...]]:
    """Return the labels in a ``dataset.json`` for some images, and the names of the classes."""
    what = f"{tree.place}/{name}"
    try:
        pairs = [(root / str(file), label) for file, label in labels]
    except (TypeError, ValueError):
        raise Unlabelled(
            f"the labels in {what} are not a list of [file, label]: repair the file"
        ) from None
    given = dict(pairs)
    if twice := [file for file, label in pairs if given[file] != label]:
        raise Unlabelled(f"{what} has different labels for {twice[0]}: keep one of them")
    missing = [file for file in files if file not in given]
    if missing:
        raise Unlabelled(
            f"{what} has no label for {len(missing):,} of {len(files):,} images, such as "
            f"{missing[0]}: add the labels, or remove {name.name}"
        )
    rows = [given[file] for file in files]
    if wrong := [v for v in rows if isinstance(v, bool) or not isinstance(v, int) or v < 0]:
        raise Unlabelled(f"{what} has the label {wrong[0]!r:.50}: give integers from 0")
    return rows, numbered(what, max(rows))


def renamed(tree: Tree, chain: Sequence[Folder], folders: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the classes from ``Labels.json``, or else the names of their folders.

    The file maps the name of each class folder (``folders``) to the name of its class. It may lie
    in any folder of ``chain``, from the root to the folder that holds the class folders. If several
    classes share a name, each has the name of its folder appended.
    """
    for folder in reversed(chain):
        for name in folder.others:
            content = _json(tree, name) if plain(name.name) == "labels.json" else None
            if isinstance(content, dict) and all(
                isinstance(content.get(key), str) and content[key] for key in folders
            ):
                found = [nfc(content[key]) for key in folders]
                return tuple(
                    f"{text} ({key})" if found.count(text) > 1 else text
                    for text, key in zip(found, folders, strict=True)
                )
    return tuple(folders)


def table(
    tree: Tree, chain: Sequence[Folder], files: Names, classes: Sequence[str]
) -> list[int] | None:
    """Return the labels from a table next to the images, as indices into ``classes``.

    The table is a .csv, .tsv or .txt file. One column must have the names of all images, with or
    without suffix. Exactly one other column must have the name of a class for each image, alone or
    followed by a space and more text. The file may lie in any folder of ``chain``, from the root to
    the folder of the images. Returns None if there is no such table.
    """
    number = {name: k for k, name in enumerate(classes)}
    for folder in reversed(chain):
        tables = [name for name in folder.others if name.suffix.lower() in _TABLES]
        for name in tables if len(tables) <= _MANY else []:
            if (rows := _rows(tree, name)) and (found := _column(rows, files, number)):
                if doubtful := [file for file, k in zip(files, found, strict=True) if len(k) > 1]:
                    raise Unlabelled(
                        f"{tree.place}/{name} has several rows for {doubtful[0].name}, with "
                        "different classes: remove all of these rows but one"
                    )
                return [label for (label,) in found]
    return None


def _column(rows: list[list[str]], files: Names, number: dict[str, int]) -> list[set[int]] | None:
    """Return the labels of each file if exactly one column has classes for all files, else None.

    A file has several labels if several rows name it, with different classes.
    """
    width = min(_WIDE, *(len(row) for row in rows))
    if len(rows) < len(files):
        return None
    for column in range(width):
        by_name: dict[str, list[list[str]]] = {}
        for row in rows:
            by_name.setdefault(PurePosixPath(row[column].strip()).name, []).append(row)
        found = [by_name.get(file.name) or by_name.get(file.stem, []) for file in files]
        if not all(found):
            continue
        fits = []
        for other in range(width):
            labels = [{_label(row[other], number) for row in mine} for mine in found]
            known = [{k for k in each if k is not None} for each in labels]
            if other != column and known == labels:
                fits.append(known)
        return fits[0] if len(fits) == 1 else None
    return None


def _label(text: str, number: dict[str, int]) -> int | None:
    """Return the number of the class that a text is, or begins with before a space, if any."""
    word = nfc(text.strip())
    return number.get(word, number.get(word.partition(" ")[0]))


def _rows(tree: Tree, name: PurePosixPath) -> list[list[str]]:
    """Return the rows of a table; an empty list if the file cannot be read as a table."""
    with suppress(UnreadableImage, UnicodeDecodeError, csv.Error):
        lines = tree.read(name).decode("utf-8-sig").splitlines()
        mark = "\t" if lines and "\t" in lines[0] else "," if lines and "," in lines[0] else " "
        return [row for row in csv.reader(lines, delimiter=mark) if row]
    return []


def _json(tree: Tree, name: PurePosixPath) -> Any:
    """Parse a JSON file that may hold labels. Raises `Unlabelled` if it is not valid JSON."""
    try:
        return parsed(tree.read(name))
    except ValueError as error:
        if isinstance(error, UserError) and not isinstance(error, UnreadableImage):
            raise
        raise Unlabelled(
            f"{tree.place}/{name} cannot be read as JSON ({error}): repair or remove it"
        ) from None
