"""Read a zip of image files, without extracting it."""

import stat
import zipfile
from functools import partial
from pathlib import Path, PurePosixPath

from mezzotint.data.files import source_of
from mezzotint.data.formats import HEAD, SUFFIXES
from mezzotint.data.naming import is_litter
from mezzotint.data.reading import IMAGE, TABLE, UnreadableImage, check_size, may_pass, passing
from mezzotint.data.source import Kind, Source, stamp
from mezzotint.data.tree import of_archive
from mezzotint.errors import UserError

Members = dict[PurePosixPath, zipfile.ZipInfo]


def zip_file(data: str, split: str, conditional: bool = True) -> Source:
    """Return the images of one split of a zip, by the rules of `data.layout`.

    Raises:
        UserError: If the zip is broken or encrypted, there are no images or no such split, the
            layout is ambiguous, or the rules of `data.layout` refuse the split.
    """
    path = Path(data)
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        if may_pass(error):
            raise passing(str(path), error) from None
        raise UserError(f"{path} cannot be opened as a zip ({error}): pack it again") from None
    named = {name: info for info in archive.infolist() if (name := _name(info))}
    links = {name for name, info in named.items() if stat.S_ISLNK(info.external_attr >> 16)}
    members = {name: info for name, info in named.items() if name not in links}
    if any(info.flag_bits & 1 for info in members.values()):
        raise UserError(f"{path} is encrypted: pack it again without a password")
    files = {name: info for name, info in members.items() if not info.is_dir()}
    tree = of_archive(
        path,
        ((name, _head(archive, name, info)) for name, info in files.items()),
        (name for name, info in members.items() if info.is_dir()),
        partial(_read, archive, files, most=TABLE),
        sorted(links),
    )
    key = {"kind": "zip", "file": stamp(path)}
    read = partial(_read, archive, files)
    return source_of(tree, split, conditional, lambda _: key, lambda: read, archive=True)


def _takes(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() == ".zip"


KIND = Kind("a .zip", zip_file, _takes, partial(zip_file, conditional=False))


def _name(info: zipfile.ZipInfo) -> PurePosixPath | None:
    """Return the path of a member, with / instead of each backslash.

    Returns None for a file that an operating system leaves behind, such as .DS_Store.
    """
    name = PurePosixPath(info.filename.replace("\\", "/").lstrip("/"))
    return None if not name.parts or any(map(is_litter, name.parts)) else name


def _head(archive: zipfile.ZipFile, name: PurePosixPath, info: zipfile.ZipInfo) -> bytes | None:
    if name.suffix.lower() in SUFFIXES:
        return b""
    try:
        with archive.open(info) as stream:
            return stream.read(HEAD)
    except Exception as error:  # a bad checksum, an unknown compression, a broken stream
        if may_pass(error):
            raise passing(f"{archive.filename}", error) from None
        return None


def _read(
    archive: zipfile.ZipFile, files: Members, name: PurePosixPath, most: int = IMAGE
) -> bytes:
    check_size(files[name].file_size, most)
    try:
        return archive.read(files[name])
    except Exception as error:  # a bad checksum, an unknown compression, a broken stream
        if may_pass(error):
            raise passing(f"{archive.filename}", error) from None
        raise UnreadableImage(f"damaged in the zip: {error}") from None
