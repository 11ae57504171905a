"""The measured figures of a run, as `mezzotint evaluate` stored them in its folder."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mezzotint.drawing.page import Section, Table
from mezzotint.metrics import Figure
from mezzotint.pages.runs import Run
from mezzotint.storage import jsonl


def figures(run: Run) -> Section | None:
    """Return a section with the newest value of each figure of a run; None if none was measured."""
    rows = []
    for name, (figure, row) in _newest(run.folder).items():
        interval = f"{figure.low:.4g} to {figure.high:.4g}"
        value, day = f"{figure.value:.4g}", str(row.get("time", "–"))[:10]
        sampling, against = _sampling(row) or "–", figure.against or "–"
        rows.append((name, value, interval, f"{figure.count:,}", against, sampling, day))
    head = ("figure", "value", "95 % interval", "images", "against", "sampling", "measured on")
    text = "The newest value of each figure."
    return Section("Figures", text, tables=[Table(rows, head)]) if rows else None


def compared(runs: Sequence[Run]) -> Section | None:
    """Return a section with the newest value of each figure, and a column for each run.

    Returns None if no figure was measured.
    """
    found = [_newest(run.folder) for run in runs]
    names = dict.fromkeys(name for figures in found for name in figures)

    def cell(figures: dict[str, tuple[Figure, Any]], name: str) -> str:
        if name not in figures:
            return "–"
        f = figures[name][0]
        return f"{f.value:.4g} ({f.low:.4g} to {f.high:.4g}; N = {f.count:,})"

    rows = [(name, *(cell(figures, name) for figures in found)) for name in names]
    head = ["", *(run.name for run in runs)]
    text = "The newest value of each figure with its 95 % interval; each run's section says more."
    return Section("Figures", text, tables=[Table(rows, head)]) if rows else None


def _newest(folder: Path) -> dict[str, tuple[Figure, dict[str, Any]]]:
    """Return the newest figure of each name, and the figure's row in figures.jsonl."""
    found: dict[str, tuple[Figure, dict[str, Any]]] = {}
    for row in jsonl.read(folder / "evaluation" / "figures.jsonl"):
        with contextlib.suppress(KeyError, TypeError):  # a row that another program wrote
            figures = [Figure.read(figure) for figure in row["figures"]]
            found |= {figure.name: (figure, row) for figure in figures}
    return found


def _sampling(row: dict[str, Any]) -> str:
    """Return the sampling settings in a row of figures.jsonl, in words; "" if the row has none."""
    parts = {
        "sampler": f"{row.get('sampler')}",
        "steps": f"{row.get('steps')} steps",
        "guidance": f"guidance {row.get('guidance'):g}" if row.get("guidance") else "",
    }
    return ", ".join(part for field, part in parts.items() if row.get(field))
