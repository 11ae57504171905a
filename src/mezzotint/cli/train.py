"""The verb ``train``."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mezzotint.cli.answer import Answer
from mezzotint.cli.flags import parse, subject
from mezzotint.config import recipes
from mezzotint.config.experiment import Configuration
from mezzotint.config.fields import values
from mezzotint.run.entry import training
from mezzotint.run.request import start
from mezzotint.run.watching import watch
from mezzotint.storage import checkpoint, log

OFTEN = (
    "--data",
    "--size",
    "--out",
    "--resume",
    "--images",
    "--batch",
    "--accumulate",
    "--lr",
    "--sample-every",
    "--evaluate-every",
    "--seed",
)


@dataclass(frozen=True)
class TrainFlags:
    """Train a diffusion model or an autoencoder, or distil a diffusion model.

    Durations are numbers of training images seen. `mezzotint train --resume RUN` continues a run;
    its settings are then the defaults.
    """

    experiment: Configuration
    out: Path
    """The run's folder."""
    resume: bool = False
    """Continue from the newest checkpoint, if there is one."""
    track: Literal["none", "wandb", "tensorboard"] = "none"
    """Copy the configuration, curves and grids to this tracker; log.jsonl is always written."""


def train(arguments: list[str]) -> Answer:
    """Train a recipe, or resume a run."""
    if arguments[:1] == ["--resume"] and len(arguments) > 1 and arguments[1][:1] != "-":
        name, rest, called = None, arguments[2:], f"--resume {arguments[1]}"
        begun = start(None, arguments[1], resume=True)
    else:
        what = f"a recipe: {', '.join(recipes.RECIPES)}; or --resume RUN"
        name, rest = subject(arguments, what, "mezzotint train glyphs-ddpm")
        called, begun = name, start(name, *out_and_resume(rest))
    default = TrainFlags(begun.base, begun.folder, resume=begun.resumed)
    flags = parse(default, rest, f"mezzotint train {called}", OFTEN)
    fields = given(begun.base, flags.experiment, rest)
    track = None if flags.track == "none" else flags.track
    steps = training(name, out=flags.out, resume=flags.resume, track=track, **fields)
    watch(steps, "train", shown=True)
    print(f"the trained model is in {flags.out}")
    return trained(flags.out)


def trained(run: Path) -> Answer:
    """Return the results of a training, which ``--json`` prints.

    The results are the folder, the newest checkpoint, all figures, and the last row of the log that
    is not a figure.
    """
    rows = log.read(run / "log.jsonl")
    measured = [row for row in rows if "figure" in row]
    last = [row for row in rows if "figure" not in row][-1:]
    return Answer(
        {
            "run": run,
            "checkpoint": next(iter(checkpoint.listed(run / "checkpoints")[-1:]), None),
            "last": next(iter(last), None),
            "figures": [{k: row[k] for k in ("step", "images", "figure")} for row in measured],
        }
    )


def given(base: Configuration, asked: Configuration, words: list[str]) -> dict[str, Any]:
    """Return {name: value} for all fields set by flags, even if ``base`` has the same value."""
    said = {word.split("=")[0].lstrip("-").replace("-", "_") for word in words if word[:2] == "--"}
    before, after = (values(each) for each in (base, asked))
    return {k: v for k, v in after.items() if k in said or before.get(k, ...) != v}


def out_and_resume(words: list[str]) -> tuple[str | None, bool]:
    """Parse --out and --resume before the other flags, whose defaults depend on these two."""
    flags = ArgumentParser(add_help=False, allow_abbrev=False)
    flags.add_argument("--out", nargs="?")  # `parse` reports a missing value
    flags.add_argument("--resume", action="store_true")
    found = flags.parse_known_args(words)[0]
    return found.out, found.resume
