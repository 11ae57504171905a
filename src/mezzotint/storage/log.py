"""The log of a run: ``log.jsonl``, with one row per log interval."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mezzotint.storage import files, jsonl

LARGE = 2**63  # a row with a larger integer is damaged


class Log:
    """Appends rows of JSON to a file. Each row is flushed, so a crash loses one row at most."""

    def __init__(self, path: Path, step: int) -> None:
        """Open the log of a run that begins or resumes at ``step``, and remove rows of later steps.

        An interrupted run wrote those rows after its last checkpoint, and will write them again.
        """
        self.path = path
        if path.exists():
            kept = [row for row in read(path) if row["step"] <= step]
            files.replace(path, "".join(json.dumps(row) + "\n" for row in kept))

    def write(self, row: dict[str, Any]) -> None:
        jsonl.append(self.path, row)


def read(path: Path, start: int = 0) -> list[dict[str, Any]]:
    """Return the rows of a log from byte ``start`` on; an empty list if there is no log.

    A row has the step, the images seen, and either named values, such as the loss, or the result
    of measuring a metric. Rows with other content are left out.
    """
    return [row for row in jsonl.read(path, start) if _is_row(row)]


def _is_row(row: dict[str, Any]) -> bool:
    rest = {name: value for name, value in row.items() if name not in ("figure", "how")}
    counts = [rest.get(name) for name in ("step", "images")]
    return (
        all(_is_number(value) for value in rest.values())
        and all(isinstance(count, int) and count >= 0 for count in counts)
        and ("figure" not in row or _is_figure(row["figure"]))
    )


def _is_figure(figure: Any) -> bool:
    if not isinstance(figure, dict) or not isinstance(figure.get("name"), str):
        return False
    return all(_is_number(figure.get(key)) for key in ("value", "low", "high", "samples"))


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < LARGE)


def duration(path: Path, last: int = LARGE) -> float:
    """Return the seconds that the steps of a log took, up to the step ``last``.

    Interruptions, grids of samples, and measurements are not counted.
    """
    total, before = 0.0, 0
    for row in read(path):
        if row["step"] <= last and (rate := row.get("images_per_second", 0)) > 0:
            total, before = total + (row["images"] - before) / rate, row["images"]
    return total
