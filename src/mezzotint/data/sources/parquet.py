"""Parquet files in the layout of the Hugging Face Hub.

Column `image` (or `img`) is a struct with the `bytes` of an image file; column `label` (or
`labels`, `fine_label`), where there is one, is an integer whose class names are in the schema's
metadata.
"""

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from mezzotint.data.images import Pixels, UnreadableImage, read_image
from mezzotint.data.source import (
    SPLITS,
    UNLABELLED,
    Item,
    Kind,
    Source,
    no_split,
    split_names,
    stamp,
)
from mezzotint.errors import UserError
from mezzotint.storage.hub import incomplete

_IMAGES = ("image", "img")
_LABELS = ("label", "labels", "fine_label")
_BATCH = 256  # rows held at a time


def parquet(data: str, split: str) -> Source:
    """The images of one split of a parquet file, or of a folder of them.

    The folder may be a clone of a repository of the hub, in which one folder holds the files.

    In a folder, a split is the files whose names start with `{split}-`, or `{split}.parquet`. A
    single file, and files that name no split, are all for training. Classes without names in the
    metadata are called "0" to the largest label.

    Raises:
        UserError: pyarrow is missing, no such split, a split of which files are missing, a damaged
            file, a missing or mistyped column, a label without a class.
    """
    arrow = _pyarrow()
    path = _place(Path(data)) or Path(data)
    files = _split_files(path, split)
    if path.is_dir() and (told := incomplete(file.name for file in files)):
        raise UserError(f"{path} has only {told}: put the others there too")
    tables = [_open(arrow, file) for file in files]
    image = _column(tables[0], _IMAGES)
    label = _column(tables[0], _LABELS)
    if image is None:
        raise UserError(f"{files[0]} has no column {' or '.join(_IMAGES)}: is it a set of images?")
    for file, table in zip(files, tables, strict=True):
        _check(arrow, file, table, image, label)
    classes: tuple[str, ...] = ()
    if label is not None:
        classes = _class_names(tables[0], label)
        for file, table in zip(files, tables, strict=True):
            if _class_names(table, label) != classes:
                raise UserError(f"{file} names other classes than {files[0].name}: keep them apart")
        classes = classes or _numbered(files, tables, label)
    count = sum(table.metadata.num_rows for table in tables)
    if count == 0:
        raise UserError(f"{path} holds no images: its files have no rows")
    key = {"kind": "parquet", "split": split, "files": [stamp(file) for file in files]}
    items = partial(_items, files, image, label, classes)
    return Source(f"{Path(data).stem}-{split}", key, classes, count, items)


def _place(path: Path) -> Path | None:
    """The file, or the folder of files, that a path means; None where it means neither.

    That is the one folder at or below the path that holds parquet files, if there is one and there
    are no image files.
    """
    if path.is_file():
        return path if path.suffix.lower() == ".parquet" else None
    if any(path.glob("*.parquet")):
        return path

    def visible(pattern: str) -> list[Path]:
        names = [file.relative_to(path) for file in path.rglob(pattern)]
        return [name for name in names if not any(part[0] == "." for part in name.parts)]

    folders = {name.parent for name in visible("*.parquet")}
    if len(folders) != 1:
        return None
    images = Image.registered_extensions()
    return None if any(n.suffix.lower() in images for n in visible("*")) else path / folders.pop()


def _takes(path: Path) -> bool:
    return _place(path) is not None


KIND = Kind("a .parquet or a folder of them", parquet, _takes)


def _items(
    files: list[Path], image: str, label: str | None, classes: tuple[str, ...]
) -> Iterator[Item]:
    arrow = _pyarrow()
    for file in files:
        row = 0
        for batch in _batches(arrow, file, [image, *([label] if label else [])]):
            images = batch.column(image).to_pylist()
            labels = batch.column(label).to_pylist() if label else [UNLABELLED] * len(images)
            for value, number in zip(images, labels, strict=True):
                if label and (number is None or not 0 <= number < len(classes)):
                    raise UserError(
                        f"{file} row {row}: label {number} is none of its {len(classes)} classes "
                        f"(0 to {len(classes) - 1}): remove the row or give it its class"
                    )
                content = value["bytes"] if value else None
                yield Item(f"{file.name} row {row}", partial(_decode, content), number)
                row += 1


def _decode(content: bytes | None, size: int | None) -> Pixels:
    if content is None:
        raise UnreadableImage("no bytes in the row")
    return read_image(content, size)


def _batches(arrow: Any, file: Path, columns: list[str]) -> Iterator[Any]:
    with _open(arrow, file) as table:
        batches = table.iter_batches(_BATCH, columns=columns)
        while True:
            try:
                batch = next(batches, None)
            except (arrow.ArrowException, OSError) as error:
                raise _damaged(file, error) from None
            if batch is None:
                return
            yield batch


def _split_files(path: Path, split: str) -> list[Path]:
    if path.is_file():
        named = _split_of(path)
        if split == "train" or named in split_names(split):
            return [path]
        raise no_split(str(path), split, [named or "train"])
    files = sorted(file for file in path.glob("*.parquet") if not file.name.startswith("."))
    existing = sorted({named for file in files if (named := _split_of(file))})
    if not existing and split == "train":
        return files
    for name in split_names(split):
        if chosen := [file for file in files if _split_of(file) == name]:
            return chosen
    raise no_split(str(path), split, existing or ["train"])


def _split_of(file: Path) -> str | None:
    match = re.match(rf"({'|'.join(SPLITS)})(-|\.parquet$)", file.name)
    return match[1] if match else None


def _open(arrow: Any, file: Path) -> Any:
    try:
        return arrow.parquet.ParquetFile(file)
    except (arrow.ArrowException, OSError) as error:
        raise _damaged(file, error) from None


def _damaged(file: Path, error: Exception) -> UserError:
    return UserError(f"{file} cannot be read as parquet ({' '.join(str(error).split())})")


def _column(table: Any, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in table.schema_arrow.names), None)


def _check(arrow: Any, file: Path, table: Any, image: str, label: str | None) -> None:
    schema = table.schema_arrow
    for name in filter(None, (image, label)):
        if name not in schema.names:
            raise UserError(f"{file} has no column {name}, which other files of its split have")
    struct = schema.field(image).type
    if not (arrow.types.is_struct(struct) and struct.get_field_index("bytes") >= 0):
        raise UserError(f"{file}: column {image} is {struct}, not a struct with the field bytes")
    if label and not arrow.types.is_integer(schema.field(label).type):
        raise UserError(f"{file}: column {label} is {schema.field(label).type}, not an integer")


def _class_names(table: Any, label: str) -> tuple[str, ...]:
    """The ClassLabel names that `datasets` keeps as JSON in the schema; () where there are none."""
    stored = (table.schema_arrow.metadata or {}).get(b"huggingface", b"{}")
    try:
        return tuple(map(str, json.loads(stored)["info"]["features"][label]["names"]))
    except (ValueError, KeyError, TypeError):
        return ()


def _numbered(files: list[Path], tables: list[Any], label: str) -> tuple[str, ...]:
    largest = -1
    for file, table in zip(files, tables, strict=True):
        try:
            labels = table.read([label]).column(label).to_pylist()
        except (ValueError, OSError) as error:  # every error of pyarrow is one of these
            raise _damaged(file, error) from None
        largest = max([largest, *(number for number in labels if number is not None)])
    return tuple(str(number) for number in range(largest + 1))


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UserError(
            "parquet files need pyarrow: run pip install 'mezzotint[parquet]'"
        ) from None
    return pyarrow
