"""Optimised grids that were measured once, each kept in a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from mezzotint.errors import UserError
from mezzotint.storage import files


def remembered(file: Path, measure: Callable[[], list[float]]) -> list[float]:
    """The values of sigma / alpha that a file holds, measured first where there is none.

    Raises UserError for a damaged file.
    """
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        files.replace(file, json.dumps({"sigma/alpha": measure()}))
    try:
        return [float(knot) for knot in json.loads(file.read_text())["sigma/alpha"]]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{file} is damaged: delete it, to be measured again") from None
