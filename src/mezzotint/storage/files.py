"""Files that a crash leaves whole: with the old content or the new."""

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
    errno.EFBIG: "choose a disk that takes larger files",
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
"""What to do about a failure to write, by its number."""


class Unwritable(UserError, OSError):
    """A file that the disk does not take: it is full, read-only, failing, or not ours.

    Args:
        path: The file or folder.
        cause: What the operating system said.
        then: What follows the remedy in the message.
    """

    def __init__(self, path: Path, cause: OSError, then: str = "") -> None:
        self.path, self.cause = path, cause
        remedy = REMEDIES.get(cause.errno or 0, "check its disk")
        super().__init__(f"{path} cannot be written ({cause.strerror}): {remedy}{then}")
        self.errno = cause.errno


@contextmanager
def written(path: Path) -> Iterator[None]:
    """A block that writes ``path``: a failure of the disk becomes `Unwritable`."""
    try:
        yield
    except Unwritable:
        raise
    except OSError as error:
        if error.errno not in REMEDIES:
            raise
        raise Unwritable(path, error) from None


def replace(path: Path, content: bytes | str) -> None:
    """Give a file new content so that a crash leaves the old or the new; text is UTF-8."""
    with beside(path) as partial:
        partial.write_bytes(content if isinstance(content, bytes) else content.encode())


@contextmanager
def beside(path: Path, synced: bool = True) -> Iterator[Path]:
    """Yield a path to write, which takes the place of ``path`` when the block ends.

    The path is a hidden, empty file in the same folder, no other process's, of the same suffix. If
    the block raises, what was written is removed and ``path`` stays as it was; what a killed
    process wrote of ``path`` is removed too. Several processes may write the same file: the last to
    finish is read. Without ``synced`` a kill leaves the file whole, and a loss of power perhaps
    not, and nothing else is removed: for the many images of a folder.

    Raises Unwritable where the disk does not take it.
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
            with suppress(OSError):  # it is gone already if it was whole
                partial.unlink()


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, whole or not at all; bytes of a path in it that are none are escaped."""
    replace(path, text.encode("utf-8", "backslashreplace"))


def is_utf8(path: Path) -> bool:
    """Whether a path's name is UTF-8; Linux allows any bytes."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


FILES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".svg", ".pdf"}
FILES |= {".html", ".htm", ".md", ".zip", ".npy", ".npz", ".json", ".jsonl", ".csv", ".txt"}
FILES |= {".safetensors", ".pt", ".pth", ".ckpt"}


def as_folder(path: str | Path) -> Path:
    """Return a path that is to be a folder.

    Raises UserError for a file, for a file's name, and for a name that is not UTF-8.
    """
    folder = Path(path)
    if not is_utf8(folder):
        raise UserError(
            f"the name of `out` is not UTF-8, {os.fsencode(folder)!r}: choose another, which the "
            "files of weights can be read under"
        )
    if folder.is_dir():
        return folder
    if folder.exists():
        raise UserError(f"{folder} is a file: give `out` a folder")
    if folder.suffix.lower() in FILES:
        raise UserError(
            f"`out` is {folder}, a file's name: give a folder, such as {folder.with_suffix('')}"
        )
    return folder


def writable(path: Path) -> None:
    """Make a file's folder; UserError if that, or the file, cannot be written.

    To be called before work that would otherwise be in vain.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        known = path.exists() or path.is_symlink()
        path.open("a").close()
        if not known:
            path.unlink(missing_ok=True)  # another process of ours may have looked too
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
