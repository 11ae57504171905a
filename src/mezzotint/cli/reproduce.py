"""The verb ``reproduce``."""

from __future__ import annotations

import sys
from dataclasses import fields

from mezzotint import paper
from mezzotint.cli.answer import Answer
from mezzotint.cli.flags import parse
from mezzotint.drawing.bars import Follower
from mezzotint.errors import Interrupted, as_flags
from mezzotint.run import Progress
from mezzotint.run.watching import TrainingBar


def reproduce(arguments: list[str]) -> Answer:
    """Carry out the paper's experiments."""
    flags = parse(paper.Options(), arguments, "mezzotint reproduce")
    chosen = {field.name: getattr(flags, field.name) for field in fields(flags)}
    with Follower("samples") as follow, TrainingBar(shown=True) as bar:

        def on_training(model: str, progress: Progress) -> None:
            bar.on(f"train {model}", progress)

        def say(line: str) -> None:
            bar.stop()
            follow.say(as_flags(line))

        try:
            found = paper.reproduce(
                **chosen, on_message=say, on_training=on_training, on_progress=follow
            )
        except Interrupted as stop:
            bar.stop()
            print(
                f"mezzotint: stopped by {stop.name}, all saved: repeat the command to continue",
                file=sys.stderr,
            )
            sys.exit(128 + stop.number)
    print(f"wrote the table to {found.table}")
    print(f"wrote the page to {found.page}: open it in a browser")
    rows = [
        vars(row) | {"figures": [figure.row for figure in row.figures.values()]}
        for row in found.rows
    ]
    return Answer(vars(found) | {"rows": rows})
