"""Progress bars on the error stream."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from mezzotint.errors import printable
from mezzotint.processes import first

UNDER_WAY: dict[str, str] = {}
"""The current work, under the key "what": the subject of the last progress bar.

It is recorded even if no bar is shown, for messages about a process that is silent for long.
"""


def time_in_words(seconds: float) -> str:
    """Return a duration in words: "3 hours"."""
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds" if seconds >= 1.5 else "1 second"


def on_terminal() -> bool:
    """Return whether the error stream is a terminal, and not a file, a pipe or a notebook."""
    console = Console(stderr=True)
    return console.is_terminal and not console.is_jupyter


def bar(
    unit: str, *more: ProgressColumn, hidden: bool = False, transient: bool = False
) -> Progress:
    """Make a progress bar that counts units, such as "images".

    Each task of the bar must have a field `loss`, a text that is shown at the end of the line. A
    transient bar is shown only on a terminal, and removed when the work is done.
    """
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
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
    """The column of a progress bar that shows the units per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")


class Follower:
    """Shows a transient progress bar. Each call ``follower(what, done, total)`` updates it."""

    def __init__(self, unit: str) -> None:
        self.unit, self.what = unit, ""
        self.began, self.first = 0.0, 0.0  # when the current work began, and how much was done then
        self.bar: Progress | None = None

    def __enter__(self) -> Follower:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __call__(self, what: str, done: float, total: int) -> None:
        if not self.bar or what != self.what:
            self.stop()
            self.bar, self.what = bar(self.unit, hidden=not first(), transient=True), what
            self.bar.add_task(printable(what), total=total, loss="")
            self.bar.start()
            self.began, self.first = time.monotonic(), done
        share = f"{what}, {int(done):,} of {total:,}"
        UNDER_WAY["what"] = share if done < total else f"still working after {share}"
        if self.first < done < total:
            spent = time.monotonic() - self.began
            left = spent * (total - done) / (done - self.first)
            UNDER_WAY["what"] += f", about {time_in_words(left)} left"
        self.bar.update(self.bar.task_ids[0], completed=int(done), total=total)
        if done >= total:
            self.stop()

    def stop(self) -> None:
        """Remove the bar."""
        if self.bar:
            self.bar.stop()
            self.bar = None

    def say(self, text: object) -> None:
        """Remove the bar, and print a line on the standard output."""
        self.stop()
        print(text, flush=True)


class Noted(Progress):
    """A progress bar that records the current work in `UNDER_WAY`, even if the bar is hidden."""

    def add_task(self, description: str, *values: Any, **named: Any) -> TaskID:
        return super().add_task(printable(description), *values, **named)

    def update(self, task_id: TaskID, *values: Any, **named: Any) -> None:
        super().update(task_id, *values, **named)
        self._note(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        super().advance(task_id, advance)
        self._note(task_id)

    def _note(self, task_id: TaskID) -> None:
        task = self._tasks[task_id]
        share = f", {task.completed:,.0f} of {task.total:,.0f}" if task.total else ""
        UNDER_WAY["what"] = task.description + share


def progress(column: ProgressColumn) -> Progress:
    """Return a transient progress bar on the error stream, with ``column`` as the last column.

    If the error stream is not a terminal, nothing is written. If there are several processes, only
    the first shows the bar.
    """
    console = Console(stderr=True)
    return Noted(
        TextColumn("{task.description}", markup=False),  # it may contain the name of a file
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        column,
        console=console,
        transient=True,
        disable=not (console.is_interactive and first()),
    )
