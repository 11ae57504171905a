"""The verb ``train``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

from mezzotint.cli.bars import FIRST, Rate, bar
from mezzotint.cli.flags import parse, subject
from mezzotint.config import recipes
from mezzotint.config.experiment import Configuration
from mezzotint.run import Progress, run
from mezzotint.run.trackers import Copy


@dataclass(frozen=True)
class TrainFlags:
    """Train a diffusion model or an autoencoder; durations are in images seen."""

    experiment: Configuration
    out: Path
    """The run's folder."""
    resume: bool = False
    """Go on from the newest checkpoint, if there is one."""
    track: Literal["none", "wandb", "tensorboard"] = "none"
    """Copy configuration, curves and grids there; log.jsonl is written in any case."""


def train(arguments: list[str]) -> None:
    """Train a recipe."""
    name, rest = subject(arguments, f"a recipe: {', '.join(recipes.RECIPES)}")
    recipe = recipes.find(name)
    flags = parse(TrainFlags(recipe, Path("runs") / name), rest, f"mezzotint train {name}")
    steps = run(flags.experiment, flags.out, flags.resume)
    if flags.track != "none":
        copy = Copy(flags.out, flags.track)
        steps = copy.follow(steps) if FIRST else steps
    watch(steps, "train")
    if FIRST:
        print(f"trained: {flags.out}")


def watch(steps: Iterator[Progress], what: str) -> None:
    """Go through a training under a bar, and say what happens on the way."""
    first = next(steps)  # whatever is wrong is said before a bar is drawn
    with bar("images", Rate(), hidden=not FIRST) as progress:
        task = progress.add_task(what, total=first.total, completed=first.images, loss="")
        for now in chain([first], steps):
            loss = f"loss {now.loss:.4f}" if now.loss == now.loss else ""
            progress.update(task, completed=now.images, total=now.total, loss=loss)
            if now.note and FIRST:
                progress.console.print(
                    f"{now.images:>9,} images  {loss}  {now.note}", highlight=False, soft_wrap=True
                )
