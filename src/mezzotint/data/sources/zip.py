"""A zip of image files, which is never extracted."""

import zipfile
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from mezzotint.data.images import Pixels, UnreadableImage, read_image
from mezzotint.data.source import SPLITS, Kind, Source, stamp
from mezzotint.data.sources.layout import Decode, Names, below, ignored, layout, source
from mezzotint.errors import UserError


def zip_file(data: str, split: str) -> Source:
    """The images of one split of a zip, laid out as a folder is.

    One folder that wraps everything, as archivers like to add, counts as the root.

    Raises:
        UserError: as `folder`, or a broken or encrypted zip.
    """
    path = Path(data)
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"{path} cannot be opened as a zip ({error}): pack it again") from None
    members = {
        PurePosixPath(info.filename): info
        for info in archive.infolist()
        if not ignored(PurePosixPath(info.filename).parts)
    }
    if any(info.flag_bits & 1 for info in members.values()):
        raise UserError(f"{path} is encrypted: pack it again without a password")
    files = [name for name, info in members.items() if not info.is_dir()]
    folders = {parent for name in files for parent in name.parents}
    folders |= {name for name, info in members.items() if info.is_dir()}
    wrapper = _wrapper(files)
    root, names, classes = layout(str(path), below(files, wrapper), below(folders, wrapper), split)
    key: dict[str, Any] = {"kind": "zip", "file": stamp(path), "split": split}

    def decoder(name: PurePosixPath) -> Decode:
        return partial(_read_member, archive, members[wrapper / root / name])

    return source(f"{path.stem}-{split}", key, names, classes, decoder)


def _takes(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() == ".zip"


KIND = Kind("a .zip", zip_file, _takes)


def _wrapper(files: Names) -> PurePosixPath:
    """The one folder that all files lie in, if it is not itself a split; else the root."""
    first = {name.parts[0] for name in files}
    if len(first) == 1 and not first & set(SPLITS) and all(len(name.parts) > 1 for name in files):
        return PurePosixPath(*first)
    return PurePosixPath()


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, size: int | None) -> Pixels:
    try:
        content = archive.read(member)
    except Exception as error:  # a bad checksum, an unknown compression, a broken stream
        raise UnreadableImage(f"damaged in the zip: {error}") from None
    return read_image(content, size)
