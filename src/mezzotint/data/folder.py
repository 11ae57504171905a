"""A folder of pictures, or a zip of one, which is never extracted.

Either a folder for each class, named after it, with pictures at any depth below; or pictures side
by side without classes. Hidden files and what operating systems leave behind are passed over; every
other file counts as a picture. A folder `train`, `test`, `val` ... at the first level is a split.
"""

import zipfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from mezzotint.data.images import Pixels, UnreadableImage, read_image
from mezzotint.data.source import SPLITS, UNLABELLED, Picture, Source, no_split, split_names, stamp
from mezzotint.errors import UserError

_LITTER = {"__MACOSX", "Thumbs.db", "desktop.ini"}

Decode = Callable[[int | None], Pixels]
Names = list[PurePosixPath]


def folder(path: Path, split: str) -> Source:
    """The pictures of one split of a folder.

    Raises:
        UserError: no pictures, an empty class folder, pictures beside class folders, or no such
            split.
    """
    files, folders = _walk(path)
    root, names, classes = _layout(str(path), files, folders, split)
    stamps = [stamp(path / root / name, str(name)) for name in names]
    key = {"kind": "folder", "root": str(path / root), "split": split, "files": stamps}

    def decoder(name: PurePosixPath) -> Decode:
        return partial(read_image, path / root / name)

    return _source(f"{path.name}-{split}", key, names, classes, decoder)


def zip_file(path: Path, split: str) -> Source:
    """The pictures of one split of a zip, laid out as a folder is.

    One folder that wraps everything, as archivers like to add, counts as the root.

    Raises:
        UserError: as `folder`, or a broken or encrypted zip.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"{path} cannot be opened as a zip ({error}): pack it again") from None
    members = {
        PurePosixPath(info.filename): info
        for info in archive.infolist()
        if not _ignored(PurePosixPath(info.filename).parts)
    }
    if any(info.flag_bits & 1 for info in members.values()):
        raise UserError(f"{path} is encrypted: pack it again without a password")
    files = [name for name, info in members.items() if not info.is_dir()]
    folders = {parent for name in files for parent in name.parents}
    folders |= {name for name, info in members.items() if info.is_dir()}
    wrapper = _wrapper(files)
    root, names, classes = _layout(
        str(path), _below(files, wrapper), _below(folders, wrapper), split
    )
    key: dict[str, Any] = {"kind": "zip", "file": stamp(path), "split": split}

    def decoder(name: PurePosixPath) -> Decode:
        return partial(_read_member, archive, members[wrapper / root / name])

    return _source(f"{path.stem}-{split}", key, names, classes, decoder)


def _source(
    name: str,
    key: dict[str, Any],
    names: Names,
    classes: tuple[str, ...],
    decoder: Callable[[PurePosixPath], Decode],
) -> Source:
    number = {label: i for i, label in enumerate(classes)}

    def pictures() -> Iterator[Picture]:
        for file in names:
            label = number[file.parts[0]] if classes else UNLABELLED
            yield Picture(str(file), decoder(file), label)

    return Source(name, key, classes, len(names), pictures)


def _layout(
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
    files = sorted(_below(files, root), key=lambda name: name.parts)
    classes = sorted({name.parts[0] for name in _below(folders, root) if name.parts})
    place = f"{data}/{root}" if own else data
    if not files and not classes:
        raise UserError(f"{place} holds no pictures: give a folder or a zip of image files")
    beside = [name for name in files if len(name.parts) == 1]
    if classes and beside:
        raise UserError(
            f"{place} has pictures beside its class folders ({beside[0]} and {len(beside) - 1} "
            "more): move each into the folder of its class"
        )
    filled = {name.parts[0] for name in files}
    if empty := [name for name in classes if name not in filled]:
        raise UserError(
            f"{place} has class folders without pictures ({', '.join(empty)}): fill or remove them"
        )
    return root, files, tuple(classes)


def _below(names: Iterable[PurePosixPath], root: PurePosixPath) -> Names:
    return [name.relative_to(root) for name in names if name.is_relative_to(root)]


def _wrapper(files: Names) -> PurePosixPath:
    """The one folder that all files lie in, if it is not itself a split; else the root."""
    first = {name.parts[0] for name in files}
    if len(first) == 1 and not first & set(SPLITS) and all(len(name.parts) > 1 for name in files):
        return PurePosixPath(*first)
    return PurePosixPath()


def _ignored(parts: Iterable[str]) -> bool:
    return any(part in _LITTER or part.startswith(".") for part in parts)


def _walk(top: Path) -> tuple[Names, Names]:
    """All files and all folders below, relative; a link back to a folder above is not entered."""
    files: Names = []
    folders: Names = []

    def visit(folder: Path, above: frozenset[Path]) -> None:
        try:
            entries = list(folder.iterdir())
        except OSError as error:
            raise UserError(f"{folder} cannot be read: {error.strerror}") from None
        for entry in entries:
            if _ignored((entry.name,)):
                continue
            name = PurePosixPath(entry.relative_to(top).as_posix())
            if not entry.is_dir():
                files.append(name)
            elif (real := entry.resolve()) not in above:
                folders.append(name)
                visit(entry, above | {real})

    visit(top, frozenset([top.resolve()]))
    return files, folders


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, size: int | None) -> Pixels:
    try:
        content = archive.read(member)
    except Exception as error:  # a bad checksum, an unknown compression, a broken stream
        raise UnreadableImage(f"damaged in the zip: {error}") from None
    return read_image(content, size)
