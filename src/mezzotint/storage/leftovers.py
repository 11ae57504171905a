"""Unfinished files and folders, and how what a killed process left of them goes away.

Whoever writes one holds a lock on it, which ends with the process. So it is known, whatever the
clock says, which of them nobody will finish. On a file system without locks none is removed.
"""

from __future__ import annotations

import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_MARK = ".partial-"
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)


@contextmanager
def unfinished(
    folder: Path, name: str, suffix: str, make: Callable[[Path], object]
) -> Iterator[Path]:
    """Make an unfinished file or folder, which no other process has, and hold its lock.

    Args:
        folder: Where.
        name: What its name begins with.
        suffix: What its name ends with.
        make: Makes it.
    """
    while True:
        path = folder / f"{name}{_MARK}{uuid.uuid4().hex}{suffix}"
        make(path)
        try:
            descriptor = os.open(path, _FLAGS)
        except FileNotFoundError:  # removed before it was locked
            continue
        try:
            _lock(descriptor, wait=True)
            if _is_at(descriptor, path):
                yield path
                return
        finally:
            os.close(descriptor)


def remove(folder: Path, name: str = "", suffix: str = "") -> None:
    """Remove what killed processes left unfinished in a folder, of one name or of any."""
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            begins = entry.name.startswith(f"{name}{_MARK}" if name else "")
            if _MARK in entry.name and begins and entry.name.endswith(suffix):
                _remove(folder / entry.name)


def _remove(path: Path) -> None:
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError:  # another process's, and renamed by now, or another user's
        return
    try:
        if _lock(descriptor, wait=False):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
    except OSError:  # another user's
        pass
    finally:
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _lock(descriptor: int, *, wait: bool) -> bool:
    """Lock a file or a folder; False where another process has it, or there are no locks."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True
