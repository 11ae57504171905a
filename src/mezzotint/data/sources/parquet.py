"""Parquet files in the layout of the Hugging Face Hub.

The column `image` (or `img`) holds structs with the `bytes` of an image file. The column `label`
(or `labels`, `fine_label`) is optional. It holds integers, names of classes, or booleans. For
integer labels, the schema's metadata may hold the names of the classes. If every label is -1 or
missing, as in test sets with secret labels, the column is ignored.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from mezzotint.data.formats import SUFFIXES
from mezzotint.data.images import ImageFile, Pixels, Wanted, read_image
from mezzotint.data.labels import are_classes, numbered
from mezzotint.data.naming import natural, nfc, shown
from mezzotint.data.reading import ROWS, UnreadableImage, check_regular, may_pass, passing
from mezzotint.data.source import (
    SPLITS,
    UNLABELLED,
    Item,
    Kind,
    Source,
    Unlabelled,
    no_split,
    split_names,
    stamp,
)
from mezzotint.data.tables import Lazy, Table
from mezzotint.errors import UserError, counted
from mezzotint.storage.hub import incomplete
from mezzotint.storage.parse import parsed

_IMAGES = ("image", "img")
_LABELS = ("label", "labels", "fine_label")
_BATCH = 256  # rows in memory at a time


def parquet(data: str, split: str, conditional: bool = True) -> Source:
    """Return the images of one split of a parquet file, or of a folder of parquet files.

    The folder may be a clone of a hub repository in which one folder holds the parquet files.

    In a folder, the names of a split's files start with the name of the split, in upper or lower
    case, and the next character is not a letter. If no file has the name of a split, all files are
    for training. A single file, given by its path, is for training; if its name begins with the
    name of another split, it is for that split too. If integer labels have no names in the
    metadata, the classes are called "0" to the largest label.

    Raises:
        UserError: If pyarrow or a file of the split is missing; the split does not exist; a file is
            damaged; or a column is missing or has a wrong type. Faulty labels are an error only if
            ``conditional`` is True.
    """
    arrow = _pyarrow()
    path = _place(Path(data)) or Path(data)
    files = _split_files(path, split)
    if path.is_dir() and (found := incomplete(file.name for file in files)):
        raise UserError(f"{path} has only {found}: add the missing files")
    tables = [_open(arrow, file) for file in files]
    image = _column(tables[0], _IMAGES)
    label = _column(tables[0], _LABELS)
    if image is None:
        raise UserError(
            f"{files[0]} has no column {' or '.join(_IMAGES)}: give parquet files of images"
        )
    for file, table in zip(files, tables, strict=True):
        _check(arrow, file, table, image)
    count = sum(table.metadata.num_rows for table in tables)
    if count == 0:
        raise UserError(f"the files of {path} have no rows: give parquet files of images")
    if count > ROWS:
        raise UserError(
            f"{path} says that it has {count:,} rows, more than the limit of {ROWS:,}: divide it "
            "into several data sets"
        )
    try:
        classes = _classes(arrow, files, tables, label) if label else ()
    except Unlabelled:
        if conditional:
            raise
        classes = ()
    label = label if classes else None
    key = {"kind": "parquet", "split": split, "files": [stamp(file) for file in files]}
    items = partial(_items, files, image, label, classes)
    table = partial(_table, str(path), files, image, count)
    name = f"{Path(data).stem}-{split}"
    others = [] if path.is_file() else [f.name for f in _of_folder(path) if not _split_of(f)]
    warned: tuple[str, ...] = ()
    if others and files[0].name not in others:
        warned = (
            f"{path}: mezzotint leaves out {counted(len(others), 'file')} ({shown(others)}), whose "
            "names do not begin with a split: call them train-..., or move them away",
        )
    return Source(
        *(name, key, classes, count, items, warned), files=True, warnings=warned, table=table
    )


def _table(place: str, files: list[Path], image: str, count: int, image_column: str) -> Table:
    """Return a table of all columns except the images; columns are read when they are looked up."""
    arrow = _pyarrow()

    def read(name: str) -> list[Any]:
        values: list[Any] = []
        known: tuple[str, ...] = ()
        for file in files:
            with _open(arrow, file) as table:
                if (columns := table.schema_arrow.names.count(name)) != 1:
                    raise UserError(
                        f"{file} has {counted(columns, 'column')} called {name}: write one such "
                        "column in each file"
                    )
                named = _class_names(table, name)
                if file != files[0] and named != known:
                    raise _other_classes(file, files[0])
                known = named
                values += _column_of(file, table, name)
        numbers = [v for v in values if known and isinstance(v, int)]
        if outside := [v for v in numbers if not 0 <= v < len(known)]:
            raise UserError(
                f"{place}: {name!r} has the label {outside[0]}, which is outside the {len(known)} "
                f"classes (0 to {len(known) - 1}): remove the row, or correct the label"
            )
        return [known[v] if known and isinstance(v, int) else v for v in values]

    def decoder(value: Any) -> tuple[Callable[[], Pixels], str]:
        if not isinstance(value, dict) or not value.get("bytes"):
            raise UserError(
                f"{place}: {image_column!r} has a row without an image: give an image in each row"
            )
        content = value["bytes"]
        return partial(read_image, content, wanted=Wanted()), hashlib.sha256(content).hexdigest()

    with _open(arrow, files[0]) as first:
        names = [name for name in first.schema_arrow.names if name != image]
    return Table(place, Lazy(names, read), range(count), decoder)


def _place(path: Path) -> Path | None:
    """Return the parquet file, or the folder of parquet files, at or below a path, else None.

    The folder is the path itself if it directly holds parquet files, else the only folder below the
    path that holds some. The result is None if several folders hold parquet files, or if there are
    also image files.
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
    return None if any(n.suffix.lower() in SUFFIXES for n in visible("*")) else path / folders.pop()


def _takes(path: Path) -> bool:
    return _place(path) is not None


KIND = Kind(
    "a .parquet file or a folder of them", parquet, _takes, partial(parquet, conditional=False)
)


def _items(
    files: list[Path], image: str, label: str | None, classes: tuple[str, ...]
) -> Iterator[Item]:
    """Yield the images of the files in order, each with the index of its class."""
    arrow = _pyarrow()
    named = {name: k for k, name in enumerate(classes)}
    for file in files:
        row = 0
        for batch in _batches(arrow, file, [image, *([label] if label else [])]):
            structs = batch.column(image)  # the path beside the bytes may not be valid text
            images = structs.flatten()[structs.type.get_field_index("bytes")].to_pylist()
            labels = batch.column(label).to_pylist() if label else [UNLABELLED] * len(images)
            for content, given in zip(images, labels, strict=True):
                number = named[nfc(str(given))] if isinstance(given, str | bool) else given
                name = f"{file.name} row {row}"
                decode = ImageFile(partial(_present, content))
                yield Item(name, decode, number, partial(bytes, content or b""))
                row += 1


def _present(content: bytes | None) -> bytes:
    if content is None:
        raise UnreadableImage("no bytes in the row")
    return content


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
    """Return the files of a split in order. Raises `NoSplit` if there are none."""
    if path.is_file():
        named = _split_of(path)
        if split == "train" or named in split_names(split):
            return [path]
        raise no_split(str(path), split, [named or "train"])
    files = _of_folder(path)
    existing = sorted({named for file in files if (named := _split_of(file))})
    if not existing and split == "train":
        return files
    chosen = [file for file in files if _split_of(file) in split_names(split)]
    if len(names := sorted({str(_split_of(file)) for file in chosen})) > 1:
        raise UserError(
            f"{path} has files of one split under the names {' and '.join(names)}: rename or "
            "remove files, so that one of these names is left"
        )
    if not chosen:
        raise no_split(str(path), split, existing or ["train"])
    return chosen


def _of_folder(path: Path) -> list[Path]:
    return sorted(file for file in path.glob("*.parquet") if not file.name.startswith("."))


def _split_of(file: Path) -> str | None:
    match = re.match(rf"({'|'.join(SPLITS)})(?![a-z])", file.name.lower())
    return match[1] if match else None


def _open(arrow: Any, file: Path) -> Any:
    try:
        check_regular(file)
        return arrow.parquet.ParquetFile(file)
    except UnicodeEncodeError:
        raise UserError(
            f"the path {file} is not UTF-8, so pyarrow cannot open it: rename it"
        ) from None
    except (arrow.ArrowException, OSError, UnreadableImage) as error:
        raise _damaged(file, error) from None


def _damaged(file: Path, error: Exception) -> UserError:
    if may_pass(error):
        return passing(str(file), error)
    reason = " ".join(str(error).split())
    return UserError(f"{file} cannot be read as parquet ({reason}): fetch or write it again")


def _column(table: Any, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in table.schema_arrow.names), None)


def _check(arrow: Any, file: Path, table: Any, image: str) -> None:
    """Raise UserError unless a file has exactly one column of images, which holds their bytes."""
    schema = table.schema_arrow
    if image not in schema.names:
        raise UserError(f"{file} has no column {image}, unlike other files of its split: add it")
    if schema.names.count(image) > 1:
        raise UserError(f"{file} has several columns called {image}: keep one of them")
    struct = schema.field(image).type
    at = struct.get_field_index("bytes") if arrow.types.is_struct(struct) else -1
    kinds = arrow.types.is_binary, arrow.types.is_large_binary, arrow.types.is_null
    if at < 0 or not any(is_kind(struct.field(at).type) for is_kind in kinds):
        raise UserError(
            f"{file}: column {image} is {struct}: make it a struct with a field that is called "
            "bytes and has the type binary"
        )


def _classes(arrow: Any, files: list[Path], tables: list[Any], label: str) -> tuple[str, ...]:
    """Return the names of the classes; () if every label is -1 or missing.

    Raises `Unlabelled` if the labels cannot be classes, or if the files have different classes.
    """
    known = _class_names(tables[0], label)
    rows: list[tuple[Path, int, Any]] = []
    for file, table in zip(files, tables, strict=True):
        if label not in table.schema_arrow.names:
            raise Unlabelled(
                f"{file} has no column {label}, unlike other files of its split: write it again"
            )
        if table.schema_arrow.names.count(label) > 1:
            raise Unlabelled(f"{file} has several columns called {label}: keep one of them")
        if _class_names(table, label) != known:
            raise _other_classes(file, files[0])
        rows += [(file, row, v) for row, v in enumerate(_labels(arrow, file, table, label))]
    values = {value for _, _, value in rows}
    if values <= {-1, None}:
        return ()
    if all(isinstance(value, str | bool) for value in values):
        if not are_classes(len(values), len(rows)):
            raise Unlabelled(
                f"{files[0]}: column {label} has {len(values):,} different labels for "
                f"{len(rows):,} images, too many for classes: pass `conditional=False` to "
                "take all images without classes"
            )
        return tuple(sorted({nfc(str(value)) for value in values}, key=natural))
    if all(isinstance(value, str | bool | None) for value in values):
        file, row, _ = next(each for each in rows if each[2] is None)
        raise Unlabelled(
            f"{file} row {row} has no label: add it, remove the row, or pass `conditional=False` "
            "to take all images without classes"
        )
    names = known or numbered(
        f"{files[0]}: column {label}", max(v for v in values if isinstance(v, int))
    )
    count = len(names)
    for file, row, value in rows:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < count:
            raise Unlabelled(
                f"{file} row {row}: the label {value} is outside the {count} classes "
                f"(0 to {count - 1}): remove the row, correct the label, or pass "
                "`conditional=False` to take all images without classes"
            )
    return names


def _labels(arrow: Any, file: Path, table: Any, label: str) -> list[Any]:
    """Return the labels of a file. Raises `Unlabelled` unless they are integers, text or bool."""
    kind, types = table.schema_arrow.field(label).type, arrow.types
    inner = kind.value_type if types.is_dictionary(kind) else kind
    known = (types.is_integer, types.is_boolean, types.is_string, types.is_large_string)
    if not any(is_known(inner) for is_known in (*known, types.is_null)):
        raise Unlabelled(
            f"{file}: column {label} is {kind}, not integers or names of classes: pass "
            "`conditional=False` to take the images without classes"
        )
    return _column_of(file, table, label)


def _column_of(file: Path, table: Any, name: str) -> list[Any]:
    try:
        values: list[Any] = table.read([name]).column(name).to_pylist()
    except (ValueError, OSError) as error:  # all errors of pyarrow are subclasses of these
        raise _damaged(file, error) from None
    return values


def _other_classes(file: Path, first: Path) -> Unlabelled:
    return Unlabelled(
        f"{file} names other classes than {first.name}: put the two files into separate folders"
    )


def _class_names(table: Any, label: str) -> tuple[str, ...]:
    """Return the ClassLabel names that `datasets` keeps as JSON in the schema, or ()."""
    stored = (table.schema_arrow.metadata or {}).get(b"huggingface", b"{}")
    try:
        return tuple(map(str, parsed(stored)["info"]["features"][label]["names"]))
    except (ValueError, KeyError, TypeError):
        return ()


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UserError(
            "parquet files need the package pyarrow: run pip install 'mezzotint[parquet]'"
        ) from None
    return pyarrow
