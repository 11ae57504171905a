"""Helpers of the verbs that measure: the table of figures, and the options of the reference."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from tyro.extras import literal_type_from_choices

from mezzotint.cli.answer import Answer
from mezzotint.evaluation import Found
from mezzotint.evaluation.request import FIGURES
from mezzotint.metrics import METRICS, NETWORKS, Figure
from mezzotint.metrics.pairs import DISTANCES

if TYPE_CHECKING:
    Network: TypeAlias = str
    Metric: TypeAlias = str
    Distance: TypeAlias = str
else:
    Network = literal_type_from_choices(list(NETWORKS))
    Metric = literal_type_from_choices(list(METRICS))
    Distance = literal_type_from_choices(list(DISTANCES))

AGAINST = {"data": "against", "split": "against_split", "range": "against_range"}
"""The flags for the arguments ``data``, ``split`` and ``range`` of the functions in Python."""


def table(figures: Sequence[Figure]) -> str:
    """Format figures as a table, with a heading for each feature network."""
    rows = []
    for network, group in groupby(figures, lambda f: f.network):
        found = list(group)
        against = next((f"; compared with {f.against}" for f in found if f.against), "")
        eyes = f"features of the {network} network; resize: {found[0].resize}{against}"
        rows.append(f"{eyes if network else 'image by image'}; [95 % interval]")
        for f in found:
            interval = f"[{f.low:.5g}, {f.high:.5g}]"
            rows.append(f"  {f.name:<20} {f.value:>9.5g}  {interval:<22} N = {f.count:,}  {f.note}")
    return "\n".join(rows)


def measured(found: Found, out: Path, **more: Any) -> Answer:
    """Return the `Answer` of an evaluation whose figures were written to the folder ``out``."""
    figures = [figure.row for figure in found.figures]
    return Answer({"figures": figures, "kept": out / FIGURES, "drawn": found.drawn, **more})
