"""The record of a run: ``log.jsonl``, one row a log interval."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mezzotint.storage import files, jsonl


class Log:
    """Append-only rows of JSON; each is flushed, so that a crash costs at most the last one."""

    def __init__(self, path: Path, step: int) -> None:
        """Open the log of a run that stands at ``step``: rows of later steps are taken out.

        Those were written after the checkpoint that the run resumes from, and will come again.
        """
        self.path = path
        if path.exists():
            kept = [row for row in read(path) if row["step"] <= step]
            files.replace(path, "".join(json.dumps(row) + "\n" for row in kept))

    def write(self, row: dict[str, Any]) -> None:
        jsonl.append(self.path, row)


def read(path: Path, start: int = 0) -> list[dict[str, Any]]:
    """The rows of a log from byte ``start`` on; none if there is no log."""
    return [row for row in jsonl.read(path, start) if "step" in row]


def duration(path: Path) -> float:
    """The seconds that the steps in a log took; interruptions, grids and figures are left out."""
    total, before = 0.0, 0
    for row in read(path):
        if rate := row.get("images_per_second"):
            total, before = total + (row["images"] - before) / rate, row["images"]
    return total
