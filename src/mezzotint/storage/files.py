"""Atomic writes: after a crash, a file has either its old or its new content."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mezzotint.errors import UserError
from mezzotint.storage import leftovers

FULL = "free space on its disk"
REMEDIES = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
    errno.EFBIG: "choose a disk that supports larger files",
    errno.EROFS: "make its disk writable",
    errno.EACCES: "make its folder writable",
    errno.EPERM: "make its folder writable",
    errno.EIO: "check its disk",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "raise the limit of open files (ulimit -n)",
    errno.ENOENT: "make its folder again",
    errno.ENOTDIR: "choose another folder",
    errno.ENAMETOOLONG: "choose a shorter name",
}
"""The remedy for a failed write, by error number."""


class Unwritable(UserError, OSError):
    """Raised if a file cannot be written: the disk is full, read-only or failing, for example.

    Args:
        path: The file or folder.
        cause: The error of the operating system.
        then: A text to append to the message.
    """

    def __init__(self, path: Path, cause: OSError, then: str = "") -> None:
        self.path, self.cause = path, cause
        remedy = REMEDIES.get(cause.errno or 0, "check its disk")
        super().__init__(f"{path} cannot be written ({cause.strerror}): {remedy}{then}")
        self.errno = cause.errno


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Run a block that writes ``path``, and raise `Unwritable` if the disk fails."""
    try:
        yield
    except Unwritable:
        raise
    except OSError as error:
        if error.errno not in REMEDIES:
            raise
        raise Unwritable(path, error) from None


def replace(path: Path, content: bytes | str) -> None:
    """Replace a file's content atomically; text is written as UTF-8."""
    with beside(path) as partial:
        partial.write_bytes(content if isinstance(content, bytes) else content.encode())


@contextmanager
def beside(path: Path, synced: bool = True) -> Iterator[Path]:
    """Yield a path to write, which replaces ``path`` when the block ends.

    The yielded path is a new, hidden, empty file in the same folder with the same suffix, used by
    this process only. If the block raises, that file is removed and ``path`` is unchanged.
    Leftovers of killed processes that wrote ``path`` are also removed. If several processes write
    the same file, the last to finish wins.

    ``synced=False`` is faster, and meant for folders of many images. With ``synced=False``,
    leftovers are not removed, and a loss of power may destroy the file; a killed process cannot
    destroy it.

    Raises Unwritable if the disk fails.
    """
    name = f".{path.stem[:100]}"
    if synced:
        leftovers.remove(path.parent, name, path.suffix)
    with (
        written(path),
        leftovers.unfinished(path.parent, name, path.suffix, Path.touch) as partial,
    ):
        try:
            yield partial
            if synced:
                sync(partial)
            os.replace(partial, path)
            if synced:
                sync(path.parent)
        finally:
            with suppress(OSError):  # a complete file was renamed already
                partial.unlink()


def write_text(path: Path, text: str) -> None:
    """Write text atomically as UTF-8; escape non-UTF-8 bytes, which paths may contain."""
    replace(path, text.encode("utf-8", "backslashreplace"))


def is_utf8(path: Path) -> bool:
    """Return whether a path is valid UTF-8; Linux also allows other bytes in paths."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


FILES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".svg", ".pdf"}
FILES |= {".html", ".htm", ".md", ".zip", ".npy", ".npz", ".json", ".jsonl", ".csv", ".txt"}
FILES |= {".safetensors", ".pt", ".pth", ".ckpt"}


def as_path(value: object, name: str) -> Path:
    """Return the argument called ``name`` as a path. Raises UserError if it cannot be one."""
    if not isinstance(value, str | os.PathLike):
        raise UserError(f"`{name}` is of type {type(value).__name__}: give a path")
    return Path(value)


def as_folder(path: str | Path) -> Path:
    """Check that a path can be a folder, and return it with the home folder in place of ``~``.

    Raises UserError if the path is a file, has the suffix of a file, or is not UTF-8.
    """
    folder = Path(os.path.expanduser(path))
    if not is_utf8(folder):
        raise UserError(
            f"the name of `out` is not UTF-8, {os.fsencode(folder)!r}: choose another name, "
            "because weights cannot be read there"
        )
    if folder.is_dir():
        return folder
    if folder.exists():
        raise UserError(f"{folder} is a file: give `out` a folder")
    if folder.suffix.lower() in FILES:
        raise UserError(
            f"`out` is {folder}, the name of a file: give a folder, such as "
            f"{folder.with_suffix('')}"
        )
    return folder


def named_after(folder: Path, suffix: str) -> Path:
    """Return the path of a file beside a folder: ``images.png`` for the folder ``images``."""
    place = folder.resolve() if folder.name in ("", "..") else folder  # "." has no name
    return place.with_name(f"{place.name}{suffix}")


def writable(path: Path) -> None:
    """Make the folder of a file, and raise UserError if the folder or the file cannot be written.

    Call this before long work, whose result would be lost if it could not be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        known = path.exists() or path.is_symlink()
        path.open("a").close()
        if not known:
            path.unlink(missing_ok=True)  # another process may have tested it too
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror}): choose another `out`"
        ) from None


def sync(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
