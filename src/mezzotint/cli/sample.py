"""The verb ``sample``."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro
from torch import Tensor

from mezzotint import evaluate as evaluation
from mezzotint import loading, recommended
from mezzotint.cli.bars import bar
from mezzotint.cli.flags import parse, settings, subject
from mezzotint.errors import UserError
from mezzotint.experiment import SampleConfig
from mezzotint.report import figures
from mezzotint.report.colour import channel_statistics


@dataclass(frozen=True)
class SampleFlags:
    """Make pictures: PNGs, and a labelled grid beside them. The defaults are the run's own."""

    how: SampleConfig
    out: Path
    """The pictures' folder; the grid is beside it, as OUT.png."""
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 64
    """How many."""
    labels: tuple[str, ...] = ()
    """One class for all, or one each, by name or number; none is every class in turn."""
    seed: int = 0
    """Picture i follows from the seed and i alone."""
    batch: int = 64
    """How many are made at once."""
    nfe: int | None = None
    """A budget of denoiser calls a picture, in the place of --steps."""
    weaker: Path | None = None
    """A weaker model, which guides in the place of the unconditional network (autoguidance)."""
    precision: Literal["float32", "bf16", "auto"] = "float32"
    """What the network computes in; auto is bf16 where the hardware has it."""
    tile: int = 0
    """Of a latent model: latents a side that are decoded at once, to save memory; 0 is all."""


def sample(arguments: list[str]) -> None:
    """Sample from a run, a checkpoint, a diffusers folder or a shipped model."""
    shown = SampleFlags(SampleConfig(), Path("RUN/pictures"))
    what = "a run, a checkpoint, a diffusers folder or a shipped model"
    name, rest = subject(arguments, what, "mezzotint sample RUN", shown)
    share, _ = evaluation.join()
    if share.count > 1:
        raise UserError("sample is one process's work: start it without torchrun")
    folder = loading.locate(name)
    pipe = loading.load(folder)
    default = SampleFlags(
        settings(pipe.defaults, rest),
        (folder if (folder / "checkpoints").is_dir() else Path()) / "pictures",
    )
    flags = parse(default, rest, f"mezzotint sample {name}")
    if flags.weaker:
        pipe = pipe.guided_by(loading.load(flags.weaker))
    if flags.tile:
        pipe = pipe.tiled(flags.tile)
    pipe = pipe.in_precision(flags.precision)
    if flags.nfe is None and (told := recommended.told(pipe, folder)):
        print(f"recommended, where no flag says otherwise: {told}")
    pipe = replace(pipe, defaults=flags.how.within(flags.nfe))
    asked = [_label(label, pipe.classes) for label in flags.labels]
    labels = asked[0] if len(asked) == 1 else asked or None
    flags.out.mkdir(parents=True, exist_ok=True)
    progress = bar("denoiser calls")
    task = progress.add_task("sample", total=None, loss="")

    def follow(done: int, calls: int) -> None:
        progress.start()
        progress.update(task, completed=done, total=calls)

    every, grid = pipe.labels(flags.n, labels), _beside(flags.out)

    def write(first: int, made: Tensor) -> None:
        if not first:
            _clear(flags.out, grid)
            told = every and every[: len(made)]
            figures.grid(made, told, pipe.classes).save(grid)  # a sign that they are ours
        for i, image in enumerate(made, first):
            figures.to_pil(image).save(flags.out / f"{i:06d}.png")

    with ThreadPoolExecutor(1) as writer:  # on the disk while the next ones are made
        written: list[Future[None]] = []
        try:
            images = pipe.sample(
                flags.n,
                labels,
                seed=flags.seed,
                batch=flags.batch,
                on_step=follow,
                on_images=lambda i, made: written.append(writer.submit(write, i, made)),
            )
        finally:
            if progress.live.is_started:
                progress.stop()
        for part in written:
            part.result()
    figures.grid(images, every, pipe.classes).save(grid)
    _colours("pictures", channel_statistics(images.permute(0, 2, 3, 1).numpy()))
    if pipe.colour:
        _colours("training set", pipe.colour)
    print(f"{flags.n} pictures: {flags.out}; their grid: {grid}")


def _label(word: str, classes: Sequence[str]) -> int | str:
    """A class of that name, else of that number."""
    with suppress(ValueError):
        return word if word in classes else int(word)
    return word


def _beside(out: Path) -> Path:
    """The grid's file: not in the folder, of which every picture is measured or learned."""
    out = out.resolve()  # "." has no name
    return out.with_name(f"{out.name}.png")


def _clear(out: Path, grid: Path) -> None:
    """Remove the pictures of an earlier request, of more of them perhaps: its grid is there."""
    if grid.exists():
        for old in [*out.glob("[0-9]" * 6 + ".png"), grid]:
            old.unlink()


def _colours(of: str, statistics: dict[str, list[float]]) -> None:
    mean, std = (" ".join(f"{v:6.1f}" for v in statistics[k]) for k in ("mean", "std"))
    print(f"channels of the {of:<12}  mean {mean}   std {std}")
