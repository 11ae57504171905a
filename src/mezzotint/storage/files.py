"""Files that a crash leaves whole: with the old content or the new."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mezzotint.errors import UserError


def replace(path: Path, content: bytes | str) -> None:
    """Give a file new content so that a crash leaves the old or the new; text is UTF-8."""
    with beside(path) as partial:
        partial.write_bytes(content if isinstance(content, bytes) else content.encode())


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Yield a path to write, which takes the place of ``path`` when the block ends.

    The path is a hidden one in the same folder, no other process's, of the same suffix. If the
    block raises, what was written is removed and ``path`` stays as it was. Several processes may
    write the same file: the last to finish is read.
    """
    partial = path.with_name(f".{path.stem[:100]}.partial-{uuid.uuid4().hex}{path.suffix}")
    try:
        yield partial
        sync(partial)
        os.replace(partial, path)
        sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)  # gone already if it was whole


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8; bytes of a path in it that are none are escaped."""
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


FILES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".svg", ".pdf"}
FILES |= {".html", ".htm", ".md", ".zip", ".npy", ".npz", ".json", ".jsonl", ".csv", ".txt"}
FILES |= {".safetensors", ".pt", ".pth", ".ckpt"}


def as_folder(path: str | Path) -> Path:
    """Return a path that is to be a folder.

    Raises UserError for a file, for a file's name, and for a name that is not UTF-8.
    """
    folder = Path(path)
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise UserError(
            f"the name of `out` is not UTF-8, {os.fsencode(folder)!r}: choose another, which the "
            "files of weights can be read under"
        ) from None
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
