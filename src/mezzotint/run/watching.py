"""A progress bar for trainings on a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.progress import Progress as Bar

from mezzotint.drawing.bars import UNDER_WAY, Rate, bar, on_terminal
from mezzotint.errors import printable
from mezzotint.processes import first
from mezzotint.run.steps import Progress


def watch(steps: Iterator[Progress], what: str, shown: bool | None = None) -> None:
    """Run a training, show a progress bar, and print the training's notes above the bar.

    Args:
        steps: The generator from `run`.
        what: The name of the training, which stands before the bar.
        shown: See `TrainingBar`.
    """
    with TrainingBar(shown) as training:
        for now in steps:
            training.on(what, now)


class TrainingBar:
    """A bar for each training, with notes printed above it; call `on` after each step.

    Args:
        shown: True shows bars and notes, False shows nothing, and None shows bars and notes only on
            a terminal. With several processes, only the first process shows bars and notes.
    """

    def __init__(self, shown: bool | None = None) -> None:
        self.shown = first() and (on_terminal() if shown is None else shown)
        self.what = ""
        self.bar: Bar | None = None

    def __enter__(self) -> TrainingBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def on(self, what: str, now: Progress) -> None:
        """Show the progress of the training called ``what``. A new name starts a new bar."""
        if not self.bar or what != self.what:
            self.stop()
            self.bar, self.what = bar("images", Rate(), hidden=not self.shown), what
            self.bar.add_task(printable(what), total=now.total, completed=now.images, loss="")
            self.bar.start()
        loss = f"loss {now.loss:.4f}" if now.loss == now.loss else ""
        UNDER_WAY["what"] = f"{what}, {now.images:,} of {now.total:,} images  {loss}".rstrip()
        self.bar.update(self.bar.task_ids[0], completed=now.images, total=now.total, loss=loss)
        if now.note and self.shown:
            self.bar.console.print(
                f"{now.images:>9,} images  {loss}  {printable(now.note)}",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )

    def stop(self) -> None:
        """End the bar and leave it on the screen."""
        if self.bar:
            self.bar.stop()
            self.bar = None
