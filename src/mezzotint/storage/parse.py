"""Parse JSON from untrusted files."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any


def content(path: Path) -> bytes:
    """Return the content of a file. Raises OSError unless the file is regular; see `regular`."""
    return regular(path).read_bytes()


def regular(path: Path) -> Path:
    """Return the path. Raises OSError for a named pipe or device file: opening it could block."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is not a file", str(path))
    return path


def parsed(text: str | bytes) -> Any:
    """Parse JSON. Raises ValueError if the text is not JSON, or is nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
