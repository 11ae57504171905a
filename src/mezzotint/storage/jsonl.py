"""Files with one JSON object per line, to which rows are only appended."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from mezzotint.storage.files import written
from mezzotint.storage.parse import content, parsed


def read(path: Path, start: int = 0) -> list[dict[str, Any]]:
    """Return the JSON objects in a file from byte ``start`` on; [] if there is no file.

    Lines that are not JSON objects in UTF-8 are left out, such as a line that a crash truncated.
    """
    found = []
    for line in content(path)[start:].splitlines() if path.is_file() else ():
        with suppress(ValueError):
            found.append(parsed(line.decode()))
    return [row for row in found if isinstance(row, dict)]


def append(path: Path, row: dict[str, Any]) -> None:
    """Append a row to a file. If a crash truncated the last line, the row still gets its own line.

    Raises Unwritable if the disk fails. An incomplete row is removed first, if possible.
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
