"""Read files of data within limits. Files may come from strangers, so no code in them is run.

A faulty file raises `UnreadableImage`, and `skip_bad` leaves it out. A temporary fault (too little
memory, a disk that does not answer, a missing permission) ends the preparation instead, because the
cache would otherwise keep an incomplete data set.
"""

import os
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from mezzotint.errors import UserError

IMAGE = 1 << 29
"""The largest size of the file of one image, decompressed, in bytes."""
TABLE = 1 << 28
"""The largest size of a table of labels, in bytes."""
PIXELS = 1 << 27
"""The largest number of pixels of an image in an array."""
ROWS = 1 << 27
"""The largest number of images that a file may claim to hold."""
_NAME = 1 << 20  # limit on a name or a comment in a tar, in bytes
# The types of the members that hold a name or a comment.
_NAMES = {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
_NAMES |= {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE}


class UnreadableImage(UserError):
    """Raised for a file that cannot be decoded. The message is the reason, without a file name."""


def read_file(path: Path, most: int = IMAGE) -> bytes:
    """Return the bytes of a regular file; refuse named pipes and device files, which may block.

    Raises:
        UnreadableImage: If the file is a broken link, is not a regular file, or exceeds `most`
            bytes.
        UserError: If the file does not exist, or a temporary fault prevents reading.
    """
    return _read(path, most, whole=True)


def read_head(path: Path, length: int) -> bytes:
    """Return the first bytes of a regular file. Raises the errors of `read_file`."""
    return _read(path, length, whole=False)


def _read(path: Path, most: int, *, whole: bool) -> bytes:
    try:
        check_regular(path)
        with open(path, "rb", opener=_without_waiting) as file:
            if not whole:
                return file.read(most)
            check_size(os.fstat(file.fileno()).st_size, most)
            return file.read()  # `read(most)` would allocate ``most`` bytes first
    except (OSError, MemoryError) as error:
        if path.is_symlink() and not path.exists():
            raise UnreadableImage("a link to a file that does not exist") from None
        raise passing(str(path), error) from None


def check_regular(path: Path) -> None:
    """Raise `UnreadableImage` for a named pipe, a device or any other file that is not regular."""
    with suppress(OSError):  # opening the file will raise it again
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise UnreadableImage("not a regular file")


def check_size(size: int, most: int = IMAGE) -> None:
    """Raise `UnreadableImage` if a file exceeds the limit on its bytes."""
    if size > most:
        raise UnreadableImage(f"too large: {size:,} bytes, but at most {most:,} are read")


def may_pass(error: BaseException) -> bool:
    """Return whether an error may have a temporary cause, such as too little memory.

    If reading a file raises such an error, the file may be intact.
    """
    if isinstance(error, OSError):  # decoders raise it without an errno if the content is broken
        return error.errno is not None or "out of memory" in str(error)
    return isinstance(error, MemoryError)


@contextmanager
def guarded(path: Path, what: str, remedy: str) -> Iterator[None]:
    """Run a block that reads a file, and convert the errors of a damaged file to UserError.

    The UserError's message says that the file cannot be read as ``what``, and ends with ``remedy``.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # the readers and decompressors raise many types of errors
        if may_pass(error):
            raise passing(str(path), error) from None
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} cannot be read as {what} ({reason}): {remedy}") from None


def passing(what: str, error: BaseException) -> UserError:
    """Return the UserError for a file that cannot be read now, although it may be intact."""
    if isinstance(error, FileNotFoundError):
        return UserError(f"there is no file {what}: give the path of an existing file")
    reason = getattr(error, "strerror", None) or "out of memory"
    return UserError(
        f"{what} cannot be read ({reason}): remove the cause and try again (`skip_bad` leaves "
        "out only damaged images)"
    )


class Member(tarfile.TarInfo):
    """A member of a tar. Unlike tarfile's own class, it limits the length of names and comments."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        found = super().frombuf(buf, encoding, errors)
        if found.size < 0 or (found.size > _NAME and found.type in _NAMES):
            raise tarfile.ReadError(f"a name or a file of {found.size:,} bytes")
        return found


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
