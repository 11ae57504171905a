"""The record of a run: ``log.jsonl``, one row a log interval."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class Log:
    """Append-only rows of JSON; each is flushed, so that a crash costs at most the last one."""

    def __init__(self, path: Path, step: int) -> None:
        """Open the log of a run that stands at ``step``: rows of later steps are taken out.

        Those were written after the checkpoint that the run resumes from, and will come again.
        """
        self.path = path
        if path.exists():
            kept = [row for row in read(path) if row["step"] <= step]
            beside = path.with_suffix(".tmp")
            beside.write_text("".join(json.dumps(row) + "\n" for row in kept))
            os.replace(beside, path)

    def write(self, row: dict[str, Any]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a log; a last line that a crash cut short is left out."""
    rows = []
    for line in path.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows
