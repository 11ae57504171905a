"""Files with one JSON object a line, to which rows are only appended."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from mezzotint.storage.files import written
from mezzotint.storage.parse import content, parsed


def read(path: Path, start: int = 0) -> list[dict[str, Any]]:
    """The rows of a file from byte ``start`` on; none if there is no file.

    A line that is not a JSON object in UTF-8, such as one that a crash cut short, is left out.
    """
    found = []
    for line in content(path)[start:].splitlines() if path.is_file() else ():
        with suppress(ValueError):
            found.append(parsed(line.decode()))
    return [row for row in found if isinstance(row, dict)]


def append(path: Path, row: dict[str, Any]) -> None:
    """Add a row, on a line of its own even after one that a crash cut short.

    Raises Unwritable where the disk does not take it; the file is as it was then.
    """
    line = json.dumps(row).encode() + b"\n"
    with written(path), path.open("a+b", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        if end:
            file.seek(-1, os.SEEK_END)
            line = line if file.read() == b"\n" else b"\n" + line
        try:
            while line:
                line = line[file.write(line) :]
        except OSError:
            with suppress(OSError):
                file.truncate(end)
            raise
