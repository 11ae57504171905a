"""JSON as it may come from anywhere."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any


def content(path: Path) -> bytes:
    """Return what is in a file. Raises OSError for what is not a file; see `regular`."""
    return regular(path).read_bytes()


def regular(path: Path) -> Path:
    """Return the path. Raises OSError for a pipe and its like, which opening would wait for."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is not a file", str(path))
    return path


def parsed(text: str | bytes) -> Any:
    """Return what JSON says. Raises ValueError for what is not JSON or is nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
