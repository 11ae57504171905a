"""Read a tar of image files, plain or compressed, without extracting it."""

import bz2
import gzip
import lzma
import os
import shutil
import tarfile
import tempfile
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from mezzotint.data.files import Reader, source_of
from mezzotint.data.formats import HEAD, SUFFIXES
from mezzotint.data.reading import (
    TABLE,
    Member,
    UnreadableImage,
    check_size,
    guarded,
    passing,
)
from mezzotint.data.source import Kind, Source, stamp
from mezzotint.data.tree import of_archive
from mezzotint.errors import UserError

_TABLES = (".json", ".jsonl", ".csv", ".tsv", ".txt")
_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
Places = dict[PurePosixPath, tuple[int, int]]


def tar(data: str, split: str, conditional: bool = True) -> Source:
    """Return the images of one split of a tar that is laid out like a folder.

    A compressed tar can only be read from its beginning, so an uncompressed copy is kept on the
    disk while its images are decoded.

    Raises:
        UserError: If there are no images or no such split, the layout is ambiguous, or the tar is
            broken.
    """
    path = Path(data)
    places: Places = {}
    heads: dict[PurePosixPath, bytes] = {}
    sidecars: dict[PurePosixPath, bytes] = {}
    room = TABLE  # limit for all tables together, because they stay in memory
    folders: list[PurePosixPath] = []
    special: list[PurePosixPath] = []
    with _guarded(path), tarfile.open(path, "r|*", tarinfo=Member) as archive:
        for member in archive:
            name = PurePosixPath(member.name.lstrip("/"))
            if member.isdir():
                folders.append(name)
            elif member.islnk() and (first := places.get(PurePosixPath(member.linkname))):
                places[name] = first
                heads[name] = heads[PurePosixPath(member.linkname)]
            elif not member.isreg() or member.issparse():
                special.append(name)
            else:
                places[name] = member.offset_data, member.size
                heads[name] = b""
                if name.suffix.lower() not in SUFFIXES and (stream := archive.extractfile(member)):
                    heads[name] = stream.read(HEAD)
                    if name.suffix.lower() in _TABLES and member.size <= room:
                        sidecars[name] = heads[name] + stream.read()
                        room -= member.size
        end = archive.offset

    def table(name: PurePosixPath) -> bytes:
        if name not in sidecars:
            raise UnreadableImage(f"the tables of labels have more than {TABLE:,} bytes together")
        return sidecars[name]

    tree = of_archive(path, heads.items(), folders, table, special)
    key = {"kind": "tar", "file": stamp(path)}
    opened = partial(_opened, path, places, end)
    return source_of(tree, split, conditional, lambda _: key, opened, archive=True)


def _takes(path: Path) -> bool:
    return path.is_file() and path.name.lower().endswith(_SUFFIXES)


KIND = Kind("a .tar or .tar.gz", tar, _takes, partial(tar, conditional=False))


def _guarded(path: Path) -> AbstractContextManager[None]:
    return guarded(path, "a tar", "fetch or pack it again")


def _opened(path: Path, places: Places, end: int) -> Reader:
    """Return a function that reads an image of the tar; decompress the tar first if necessary."""
    with _guarded(path):
        file: IO[bytes] = path.open("rb")
        if not _is_plain(path):
            file.close()
            _check_room(path, end)
            file = tempfile.TemporaryFile()  # noqa: SIM115 (read until the last image is decoded)
            _decompress(path, file)

    def read(name: PurePosixPath) -> bytes:
        start, size = places[name]
        check_size(size)
        try:
            # pread is safe in any thread, because it does not move the position of the file.
            content = os.pread(file.fileno(), size, start)
        except (OSError, MemoryError) as error:
            raise passing(str(path), error) from None
        if len(content) < size:
            raise UnreadableImage("truncated")
        return content

    return read


def _check_room(path: Path, needed: int) -> None:
    """Raise UserError unless the disk of temporary files has room for the decompressed tar."""
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{path} takes {needed / 1e9:.1f} GB decompressed, but {folder} has only "
            f"{free / 1e9:.1f} GB free: set TMPDIR to a larger disk, or extract the tar and "
            "give the folder"
        )


def _is_plain(path: Path) -> bool:
    try:
        tarfile.open(path, "r:").close()
    except tarfile.ReadError:
        return False
    return True


def _decompress(path: Path, file: IO[bytes]) -> None:
    with path.open("rb") as compressed:
        first = compressed.read(2)
    known: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}
    with known[first](path, "rb") as stream:
        shutil.copyfileobj(stream, file, 1 << 20)
    file.flush()
