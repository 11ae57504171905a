"""What the ways to measure have in common: a bar, and the figures as a table."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Literal

from mezzotint.drawing.bars import FIRST, bar
from mezzotint.metrics import Figure

Network = Literal["cifar10", "glyphs", "inception", "inception-pytorch-fid"]


class Following:
    """A bar for what is under way, and figures between."""

    def __init__(self, total: int) -> None:
        self.bar = bar("pictures", hidden=not FIRST, transient=True)
        self.task = self.bar.add_task("", total=total, loss="")

    def __enter__(self) -> Following:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def on(self, what: str, done: float, total: int) -> None:
        self.bar.update(self.task, description=what, completed=int(done))

    def say(self, figures: Sequence[Figure]) -> None:
        """On the output stream, which a running bar would take over."""
        self.bar.stop()
        print(table(figures), flush=True)
        self.bar.start()


def table(figures: Sequence[Figure]) -> str:
    """Figures as a table; those of a network under a line that says what they have in common."""
    rows = []
    for network, group in groupby(figures, lambda f: f.network):
        found = list(group)
        first = found[0]
        eyes = f"{network} network, {first.resize}; against {first.against}"
        rows.append(eyes if network else "picture by picture")
        for f in found:
            interval = f"[{f.low:.5g}, {f.high:.5g}]"
            told = f"  {f.name:<20} {f.value:>9.5g}  {interval:<22} N = {f.count:,}  {f.note}"
            rows.append(told)
    return "\n".join(rows)
