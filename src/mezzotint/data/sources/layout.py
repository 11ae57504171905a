"""Image files by name, in a folder or in an archive of one: classes and splits.

Either a folder for each class, named after it, with image files at any depth below; or image files
side by side without classes. Hidden files and what operating systems leave behind are passed over;
every other file counts as an image. A folder `train`, `test`, `val` ... at the first level is a
split.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any

from mezzotint.data.images import Pixels
from mezzotint.data.source import SPLITS, UNLABELLED, Item, Source, no_split, split_names
from mezzotint.errors import UserError

_LITTER = {"__MACOSX", "Thumbs.db", "desktop.ini"}

Decode = Callable[[int | None], Pixels]
Names = list[PurePosixPath]


def source(
    name: str,
    key: dict[str, Any],
    names: Names,
    classes: tuple[str, ...],
    decoder: Callable[[PurePosixPath], Decode],
) -> Source:
    number = {label: i for i, label in enumerate(classes)}

    def items() -> Iterator[Item]:
        for file in names:
            label = number[file.parts[0]] if classes else UNLABELLED
            yield Item(str(file), decoder(file), label)

    return Source(name, key, classes, len(names), items, files=True)


def layout(
    data: str, files: Names, folders: Iterable[PurePosixPath], split: str
) -> tuple[PurePosixPath, Names, tuple[str, ...]]:
    """The root of a split, its files in order and its classes, from names relative to the data."""
    first = sorted({name.parts[0] for name in folders if name.parts})
    splits = [name for name in first if name in SPLITS]
    own = [name for name in split_names(split) if name in first]
    # Without a folder of that name the whole is for training, unless it is all other splits.
    if not own and (split != "train" or (splits and splits == first)):
        raise no_split(data, split, splits or ["train"])
    root = PurePosixPath(*own[:1])
    files = sorted(below(files, root), key=lambda name: name.parts)
    classes = sorted({name.parts[0] for name in below(folders, root) if name.parts})
    place = f"{data}/{root}" if own else data
    if not files and not classes:
        raise UserError(f"{place} holds no images: give a folder or a zip of image files")
    beside = [name for name in files if len(name.parts) == 1]
    if classes and beside:
        raise UserError(
            f"{place} has images beside its class folders ({beside[0]} and {len(beside) - 1} "
            "more): move each into the folder of its class"
        )
    filled = {name.parts[0] for name in files}
    if empty := [name for name in classes if name not in filled]:
        raise UserError(
            f"{place} has class folders without images ({', '.join(empty)}): fill or remove them"
        )
    return root, files, tuple(classes)


def below(names: Iterable[PurePosixPath], root: PurePosixPath) -> Names:
    return [name.relative_to(root) for name in names if name.is_relative_to(root)]


def ignored(parts: Iterable[str]) -> bool:
    return any(part in _LITTER or part.startswith(".") for part in parts)
