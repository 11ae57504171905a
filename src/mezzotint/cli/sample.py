"""The verb ``sample``."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro
from PIL.Image import Image
from PIL.PngImagePlugin import PngImageFile, PngInfo
from torch import Tensor

from mezzotint import evaluation
from mezzotint.cli.flags import parse, settings, subject
from mezzotint.config.sampling import SampleConfig
from mezzotint.drawing import figures
from mezzotint.drawing.bars import bar
from mezzotint.drawing.colour import channel_statistics
from mezzotint.errors import UserError
from mezzotint.pipeline import loading, tuned
from mezzotint.storage import files
from mezzotint.storage.arrays import nhwc

MARK = "mezzotint sample"  # in a grid's PNG: of how many pictures it is, 000000 on


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
    if flags.nfe is None and (told := tuned.told(pipe, folder)):
        print(f"recommended, where no flag says otherwise: {told}")
    pipe = replace(pipe, defaults=flags.how.within(flags.nfe))
    asked = [_label(label, pipe.classes) for label in flags.labels]
    labels = asked[0] if len(asked) == 1 else asked or None
    every = pipe.labels(flags.n, labels)
    grid = _beside(flags.out)
    earlier = _earlier(flags.out, grid)
    flags.out.mkdir(parents=True, exist_ok=True)
    progress = bar("denoiser calls")
    task = progress.add_task("sample", total=None, loss="")

    def follow(done: int, calls: int) -> None:
        progress.start()
        progress.update(task, completed=done, total=calls)

    def write(first: int, made: Tensor) -> None:
        if not first:
            for old in earlier:
                old.unlink()
            told = every and every[: len(made)]
            _save(figures.grid(made, told, pipe.classes), grid, flags.n)
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
    _save(figures.grid(images, every, pipe.classes), grid, flags.n)
    _colours("pictures", channel_statistics(nhwc(images)))
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


def _earlier(out: Path, grid: Path) -> list[Path]:
    """The pictures that an earlier request left, as its grid tells.

    Raises UserError where the grid or any picture that would be mixed with ours is another's.
    """
    count = 0
    if grid.exists():
        # Not Image.open, which refuses large pictures.
        with suppress(OSError, SyntaxError, ValueError), PngImageFile(grid) as image:
            count = int(image.info.get(MARK, 0))
        if not count:
            raise UserError(f"{grid} is there, and no grid of sample's: choose another --out")
    found = sorted(out.glob("[0-9]" * 6 + ".png"))
    if found and int(found[-1].stem) >= count:
        raise UserError(f"{out} holds other pictures, {found[-1].name}: choose another --out")
    return found


def _save(sheet: Image, grid: Path, count: int) -> None:
    """Save a grid, marked as ours; a crash leaves the old one or the new."""
    mark = PngInfo()
    mark.add_text(MARK, f"{count}")
    with files.beside(grid) as partial:
        sheet.save(partial, pnginfo=mark)


def _colours(of: str, statistics: dict[str, list[float]]) -> None:
    mean, std = (" ".join(f"{v:6.1f}" for v in statistics[k]) for k in ("mean", "std"))
    print(f"channels of the {of:<12}  mean {mean}   std {std}")
