"""Unfinished files and folders, and their removal if a killed process left them behind.

The process that writes an unfinished file holds a lock on it until the process ends. So an
unfinished file without a lock will never be finished, and is removed. On a file system without
locks, no file is removed.
"""

from __future__ import annotations

import glob
import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

_MARK = ".partial-"
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)


@contextmanager
def unfinished(
    folder: Path, name: str, suffix: str, make: Callable[[Path], object]
) -> Iterator[Path]:
    """Make an unfinished file or folder for this process only, and lock it in the ``with`` block.

    Args:
        folder: The folder to make it in.
        name: The beginning of its name.
        suffix: The end of its name.
        make: The function that makes it, such as `Path.touch` or `Path.mkdir`.
    """
    while True:
        path = folder / f"{name}{_MARK}{uuid.uuid4().hex}{suffix}"
        make(path)
        try:
            descriptor = os.open(path, _FLAGS)
        except FileNotFoundError:  # another process removed it before it was locked
            continue
        try:
            _lock(descriptor, wait=True)
            if _is_at(descriptor, path):
                yield path
                return
        finally:
            os.close(descriptor)


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Lock a folder, so that only one process at a time runs the ``with`` block for it."""
    with _opened(folder) if sys.platform != "win32" else nullcontext(0) as descriptor:
        _lock(descriptor, wait=True)
        yield


def written(folder: Path, name: str) -> Path | None:
    """Return the unfinished version of ``name`` that another process is writing now, or None."""
    for path in folder.glob(f"{glob.escape(name)}{_MARK}*"):
        with suppress(OSError), _opened(path) as descriptor:
            if _is_locked(descriptor):
                return path
    return None


def wait_for(path: Path) -> None:
    """Wait until the process that writes an unfinished file has finished it, or has died."""
    with suppress(OSError), _opened(path) as descriptor:
        _lock(descriptor, wait=True)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, _FLAGS)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def remove(folder: Path, name: str = "", suffix: str = "") -> None:
    """Remove the unfinished files that killed processes left in a folder.

    If ``name`` is given, only unfinished versions of the file of this name are removed; if
    ``suffix`` is given, only files whose names end with it.
    """
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            begins = entry.name.startswith(f"{name}{_MARK}" if name else "")
            if _MARK in entry.name and begins and entry.name.endswith(suffix):
                _remove(folder / entry.name)


def _remove(path: Path) -> None:
    """Remove an unfinished file or folder, unless another process holds its lock."""
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError:  # another process has renamed it, or it belongs to another user
        return
    try:
        if _lock(descriptor, wait=False):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
    except OSError:  # it belongs to another user
        pass
    finally:
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _is_locked(descriptor: int) -> bool:
    """Return whether another process has locked a file; False if locks are unsupported."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _lock(descriptor: int, *, wait: bool) -> bool:
    """Lock a file or folder.

    Returns False if another process holds the lock (and ``wait`` is not set), or if locks are
    unsupported.
    """
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True
