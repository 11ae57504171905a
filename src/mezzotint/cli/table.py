"""What the ways to measure have in common: a bar, the figures as a table, and names to choose."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, TypeAlias

from tyro.extras import literal_type_from_choices

from mezzotint.drawing.bars import FIRST, bar
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


class Following:
    """A bar for what is under way, which appears when something is, and figures between."""

    def __init__(self, total: int | None = None) -> None:
        self.bar = bar("images", hidden=not FIRST, transient=True)
        self.task = self.bar.add_task("", total=total, loss="")

    def __enter__(self) -> Following:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def on(self, what: str, done: float, total: int) -> None:
        self.bar.start()
        self.bar.update(self.task, description=what, completed=int(done), total=total)

    def say(self, figures: Sequence[Figure]) -> None:
        """Print figures on the output stream, which a running bar would take over."""
        self.bar.stop()
        print(table(figures), flush=True)


def table(figures: Sequence[Figure]) -> str:
    """Return figures as a table; those of a network under a line of what they have in common."""
    rows = []
    for network, group in groupby(figures, lambda f: f.network):
        found = list(group)
        first = found[0]
        eyes = f"{network} network, {first.resize}; against {first.against}"
        rows.append(eyes if network else "image by image")
        for f in found:
            interval = f"[{f.low:.5g}, {f.high:.5g}]"
            told = f"  {f.name:<20} {f.value:>9.5g}  {interval:<22} N = {f.count:,}  {f.note}"
            rows.append(told)
    return "\n".join(rows)
