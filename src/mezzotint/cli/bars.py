"""Progress on the error stream."""

from __future__ import annotations

import os

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

FIRST = os.environ.get("RANK", "0") == "0"  # under torchrun one process speaks for all


def bar(
    unit: str, *more: ProgressColumn, hidden: bool = False, transient: bool = False
) -> Progress:
    """A bar that counts a unit; its task has a field `loss` for a last word.

    A transient one is for a terminal alone, and gone when done.
    """
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        *more,
        TimeRemainingColumn(),
        TextColumn("{task.fields[loss]}"),
        console=console,
        disable=hidden or (transient and not console.is_terminal),
        transient=transient,
    )


class Rate(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")
