"""The verb ``train``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mezzotint.cli.flags import parse, subject
from mezzotint.config import recipes
from mezzotint.config.experiment import Configuration
from mezzotint.drawing.bars import FIRST
from mezzotint.run.entry import training
from mezzotint.run.watching import watch


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
    recipe = recipes.RECIPES[name]
    flags = parse(TrainFlags(recipe, Path("runs") / name), rest, f"mezzotint train {name}")
    track = None if flags.track == "none" else flags.track
    steps = training(flags.experiment, out=flags.out, resume=flags.resume, track=track)
    watch(steps, "train", shown=True)
    if FIRST:
        print(f"trained: {flags.out}")
