"""The command line: one thin verb a function."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import chain, dropwhile, takewhile
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import torch
import tyro
from pydantic import ValidationError
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

import mezzotint
from mezzotint import pipeline, recipes
from mezzotint.errors import UserError
from mezzotint.experiment import (
    Experiment,
    SampleConfig,
    autocast_dtype,
    first_problem,
    nearest,
)
from mezzotint.report import figures
from mezzotint.report.colour import channel_statistics
from mezzotint.run import Interrupted, run

T = TypeVar("T")
FIRST = os.environ.get("RANK", "0") == "0"  # under torchrun one process speaks for all
USAGE = """usage: mezzotint VERB ...

  train RECIPE [--field value ...] [--out RUN] [--resume]   train a diffusion model
  sample RUN [-n 64] [--steps 50] [--guidance 2] ...        make pictures with it

`mezzotint VERB --help` lists the verb's recipes or fields; recipes: {recipes}."""


@dataclass(frozen=True)
class TrainFlags:
    """Train an experiment; durations are in images seen."""

    experiment: Experiment
    out: Path
    """The run's folder."""
    resume: bool = False
    """Go on from the newest checkpoint, if there is one."""


@dataclass(frozen=True)
class SampleFlags:
    """Make pictures: PNGs and a labelled grid. The defaults are the run's own."""

    how: SampleConfig
    out: Path
    """The pictures' folder."""
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 64
    """How many."""
    labels: tuple[int, ...] = ()
    """One class for all, or one each; none is every class in turn."""
    seed: int = 0
    """Picture i follows from the seed and i alone."""
    batch: int = 64
    """How many are made at once."""
    precision: Literal["float32", "bf16", "auto"] = "float32"
    """What the network computes in; auto is bf16 where the hardware has it."""


def train(arguments: list[str]) -> None:
    """Train a recipe."""
    name, rest = _subject(arguments, f"a recipe: {', '.join(recipes.RECIPES)}")
    recipe = recipes.find(name)
    flags = _parse(TrainFlags(recipe, Path("runs") / name), rest, f"mezzotint train {name}")
    steps = run(flags.experiment, flags.out, flags.resume)
    first = next(steps)  # whatever is wrong is said before a bar is drawn
    with _bar("images", _Rate(), hidden=not FIRST) as bar:
        task = bar.add_task("train", total=first.total, completed=first.images, loss="")
        for now in chain([first], steps):
            loss = f"loss {now.loss:.4f}" if now.loss == now.loss else ""
            bar.update(task, completed=now.images, total=now.total, loss=loss)
            if now.note and FIRST:
                bar.console.print(
                    f"{now.images:>9,} images  {loss}  {now.note}", highlight=False, soft_wrap=True
                )
    if FIRST:
        print(f"trained: {flags.out}")


def sample(arguments: list[str]) -> None:
    """Sample from a run, a checkpoint or a diffusers folder."""
    name, rest = _subject(arguments, "a run, a checkpoint or a diffusers folder")
    folder = Path(name)
    pipe = pipeline.load(folder)
    default = SampleFlags(
        pipe.defaults, (folder if (folder / "checkpoints").is_dir() else Path()) / "pictures"
    )
    flags = _parse(default, rest, f"mezzotint sample {name}")
    pipe = replace(pipe, dtype=autocast_dtype(flags.precision, pipe.device))
    labels = flags.labels[0] if len(flags.labels) == 1 else flags.labels or None
    flags.out.mkdir(parents=True, exist_ok=True)
    bar = _bar("denoiser calls")
    task = bar.add_task("sample", total=None, loss="")

    def follow(done: int, calls: int) -> None:
        bar.start()
        bar.update(task, completed=done, total=calls)

    try:
        images = pipe.sample(
            flags.n,
            labels,
            seed=flags.seed,
            batch=flags.batch,
            on_step=follow,
            **asdict(flags.how),
        )
    finally:
        if bar.live.is_started:
            bar.stop()
    if (flags.out / "grid.png").exists():  # ours, from a request of more pictures perhaps
        for old in flags.out.glob("[0-9]" * 6 + ".png"):
            old.unlink()
    for i, image in enumerate(images):
        figures.to_pil(image).save(flags.out / f"{i:06d}.png")
    every = pipe.labels(flags.n, labels)
    figures.grid(images, every, pipe.classes).save(flags.out / "grid.png")
    _colours("pictures", channel_statistics(images.permute(0, 2, 3, 1).numpy()))
    if pipe.colour:
        _colours("training set", pipe.colour)
    print(f"{flags.n} pictures and their grid: {flags.out / 'grid.png'}")


VERBS: dict[str, Callable[[list[str]], None]] = {"train": train, "sample": sample}


def main(arguments: list[str] | None = None) -> None:
    """The command `mezzotint`: exits with 0, 2 for what the user got wrong, 128 + a signal."""
    warnings.formatwarning = lambda message, *_: f"mezzotint: warning: {message}\n"
    given = sys.argv[1:] if arguments is None else arguments
    verb = given[0] if given else "--help"
    try:
        if verb == "--version":
            print(f"mezzotint {mezzotint.__version__}")
        elif verb in ("-h", "--help"):
            print(USAGE.format(recipes=", ".join(recipes.RECIPES)))
        elif verb not in VERBS:
            hint = nearest(verb, list(VERBS)) or f": choose {' or '.join(VERBS)}"
            raise UserError(f"unknown verb {verb!r}{hint}")
        else:
            VERBS[verb](given[1:])
    except (UserError, OSError) as error:
        _fail(str(error), 2)
    except torch.OutOfMemoryError:
        _fail("out of memory: lower --batch, or for training raise --accumulate", 2)
    except Interrupted as stop:
        _fail(f"stopped by {stop}, all saved: go on with --resume", 128 + stop.number)
    except KeyboardInterrupt:
        _fail("stopped", 130)


def _fail(message: str, code: int) -> None:
    print(f"mezzotint: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)


def _subject(arguments: list[str], what: str) -> tuple[str, list[str]]:
    if arguments and arguments[0] in ("-h", "--help"):
        print(f"Give {what}.\nIts fields: put its name before --help.")
        sys.exit(0)
    if not arguments or arguments[0].startswith("-"):
        raise UserError(f"give {what}")
    return arguments[0], arguments[1:]


def _parse(default: T, arguments: list[str], program: str) -> T:
    """The flags of ``default``'s fields, nested ones flat; whatever is wrong as one line."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            flags, unknown = tyro.cli(
                type(default),
                prog=program,
                default=default,
                args=arguments,
                return_unknown_args=True,
                config=(tyro.conf.OmitArgPrefixes,),
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        cause: BaseException | None = stop
        while cause:
            if isinstance(cause, ValidationError):
                raise UserError(first_problem(cause)) from None
            cause = cause.__context__
        # tyro draws a box, of lines or of ASCII: under its title the first paragraph says what is
        # wrong, the rest repeats the help.
        lines = [line.strip("│| ") for line in said.getvalue().splitlines()[1:]]
        words = takewhile(_is_text, dropwhile(lambda line: not _is_text(line), lines))
        raise UserError(f"{' '.join(words)} (see {program} --help)") from None
    if unknown:
        names = [f"--{name.replace('_', '-')}" for name in _leaves(asdict(default))]  # type: ignore[call-overload]
        hint = nearest(unknown[0], names) or f"; see {program} --help"
        raise UserError(f"unknown field {unknown[0]}{hint}")
    return flags


def _is_text(line: str) -> bool:
    return bool(line.strip("─-"))


def _leaves(tree: dict[str, Any]) -> list[str]:
    return [
        leaf
        for name, value in tree.items()
        for leaf in (_leaves(value) if isinstance(value, dict) else [name])
    ]


def _bar(unit: str, *more: ProgressColumn, hidden: bool = False) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        *more,
        TimeRemainingColumn(),
        TextColumn("{task.fields[loss]}"),
        console=Console(stderr=True),
        disable=hidden,
    )


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")


def _colours(of: str, statistics: dict[str, list[float]]) -> None:
    mean, std = (" ".join(f"{v:6.1f}" for v in statistics[k]) for k in ("mean", "std"))
    print(f"channels of the {of:<12}  mean {mean}   std {std}")
