"""A training under a bar, for whoever sits at a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from mezzotint.drawing.bars import FIRST, Rate, bar, on_terminal
from mezzotint.run.steps import Progress


def watch(steps: Iterator[Progress], what: str, shown: bool | None = None) -> None:
    """Go through a training under a bar, and say what happens on the way.

    Args:
        steps: what `run` returned.
        what: the bar's name.
        shown: False shows nothing, None a bar on a terminal only. Of several processes the first
            speaks for all.
    """
    shown = FIRST and (on_terminal() if shown is None else shown)
    first = next(steps)  # whatever is wrong is said before a bar is drawn
    with bar("images", Rate(), hidden=not shown) as progress:
        task = progress.add_task(what, total=first.total, completed=first.images, loss="")
        for now in chain([first], steps):
            loss = f"loss {now.loss:.4f}" if now.loss == now.loss else ""
            progress.update(task, completed=now.images, total=now.total, loss=loss)
            if now.note and shown:
                progress.console.print(
                    f"{now.images:>9,} images  {loss}  {now.note}", highlight=False, soft_wrap=True
                )
