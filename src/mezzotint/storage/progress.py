"""Progress bars for the preparation of data."""

from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from mezzotint.drawing.bars import UNDER_WAY
from mezzotint.errors import printable
from mezzotint.processes import first


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
