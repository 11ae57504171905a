"""The verb ``sample``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from torch import Tensor

from mezzotint import evaluation
from mezzotint.cli.answer import Answer
from mezzotint.cli.flags import check_sampling, parse, parsed_labels, settings, subject
from mezzotint.config.sampling import SampleConfig
from mezzotint.drawing.bars import UNDER_WAY, bar
from mezzotint.drawing.colour import channel_statistics
from mezzotint.errors import arguments_called, counted
from mezzotint.evaluation.conditions import condition_of
from mezzotint.evaluation.folder import GRID
from mezzotint.networks.precision import Precision
from mezzotint.pipeline import loading, tuned
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.processes import join
from mezzotint.storage.arrays import nhwc

OFTEN = (
    "--out",
    "--n",
    "--labels",
    "--condition",
    "--seed",
    "--batch",
    "--precision",
    "--sampler",
    "--steps",
    "--guidance",
)


FRAMED = 16  # how many samples an animation shows


@dataclass(frozen=True)
class SampleFlags:
    """Make samples: PNG files, and a labelled grid of them.

    The model's own sampling settings are the defaults; `mezzotint sample MODEL --help` shows them.
    If the command is repeated with a larger -n, it adds the missing samples.
    """

    how: SampleConfig
    out: Path
    """The folder of the samples. A grid of the first 256 is written beside it, as OUT.png."""
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 64
    """How many samples to make. Without -n, several values of --condition make one sample each."""
    labels: tuple[str, ...] = ()
    """One class for all samples, or one for each, by name or number; by default all classes in
    turn."""
    condition: tuple[str, ...] = ()
    """The other conditions as NAME=VALUE, such as age=30. Give one value for all samples, or one
    for each, separated by commas: weight=50,60. A plus joins several labels of a sample:
    tags=red+round."""
    seed: int = 0
    """The seed; the noise of sample i depends only on the seed and i."""
    batch: int = 64
    """How many samples to make at once."""
    nfe: int | None = None
    """A budget of denoiser calls per sample, instead of --steps."""
    weaker: Path | None = None
    """A weaker model that guides instead of the unconditional network (autoguidance)."""
    precision: Precision = "auto"
    """The precision of the network; auto is bf16 on hardware that computes in it, else float32."""
    film: Path | None = None
    """Also write an animation of the first 16 samples from noise to image, as .webp or .gif."""
    tile: int = 0
    """Decode tiles of this many latents per side, to save memory; 0 decodes whole images."""


def sample(arguments: list[str]) -> Answer:
    """Sample from a run, a checkpoint, a diffusers folder or a shipped model."""
    shown = SampleFlags(SampleConfig(), Path("RUN/images"))
    what = "a run, a checkpoint, a diffusers folder or a shipped model"
    name, rest = subject(arguments, what, "mezzotint sample RUN", shown, OFTEN)
    share, device = join()
    with share.first():  # because it may download
        folder = loading.locate(name)
        pipe = loading.load(folder, device=device, precision="float32")
    default = SampleFlags(
        settings(pipe.defaults, rest),
        (folder if (folder / "checkpoints").is_dir() else Path()) / "images",
        tile=getattr(pipe.codec, "tile", 0),
    )
    flags = parse(default, rest, f"mezzotint sample {name}", OFTEN)
    check_sampling(rest, flags.how, flags.weaker)
    if flags.weaker:
        pipe = pipe.guided_by(loading.load(flags.weaker, device=device, precision="float32"))
    if flags.tile != default.tile:
        pipe = pipe.tiled(flags.tile)
    pipe = pipe.in_precision(flags.precision)
    if flags.nfe is None and (settings_found := tuned.in_use(pipe, folder)):
        print(f"the defaults are the settings that a sweep recommended: {settings_found}")
    pipe = replace(pipe, defaults=flags.how.within(flags.nfe))
    labels = parsed_labels(flags.labels, pipe.classes)
    given = condition_of(flags.condition, pipe.every)
    condition = {name: value for name, (value, _) in given.items()} or None
    n = _count(flags, given, rest)
    if flags.film:
        with arguments_called(out="film"):
            evaluation.free_film(flags.film)
    progress = bar("denoiser calls")
    task = progress.add_task("sample", total=None, loss="")

    def follow(done: int, calls: int) -> None:
        UNDER_WAY["what"] = f"sample, {done:,} of {calls:,} denoiser calls"
        if not share.number:
            progress.start()
        progress.update(task, completed=done, total=calls)

    try:
        images = evaluation.write_samples(
            *(pipe, flags.out, n, labels),
            condition=condition,
            seed=flags.seed,
            batch=flags.batch,
            on_step=follow,
        )
        if flags.film and not share.number:
            some = labels[:FRAMED] if isinstance(labels, list) else labels
            evaluation.animate(
                *(pipe, flags.film, min(n, FRAMED), some),
                condition={k: v[:FRAMED] if rows > 1 else v for k, (v, rows) in given.items()}
                or None,
                seed=flags.seed,
                on_step=follow,
            )
    finally:
        if progress.live.is_started:
            progress.stop()
    return _report(pipe, flags, n, images)


def _report(pipe: Pipeline, flags: SampleFlags, n: int, images: Tensor) -> Answer:
    """Print and return the number of samples, the paths, and statistics of the channels.

    The statistics are the mean and the standard deviation of each channel of the samples. The
    statistics of the training set, if the model has them, are only printed.
    """
    colours = channel_statistics(nhwc(images))
    _colours("samples", colours)
    if pipe.colour:
        _colours("training set", pipe.colour)
    if seen_as := pipe.values.shown_as(images.shape[1]):
        print(f"the grid shows {seen_as}")
    grid = evaluation.grid_of(flags.out)
    drawn = "a grid of them" if n <= GRID else f"a grid of the first {GRID}"
    print(f"wrote {counted(n, 'sample')} to {flags.out}, and {drawn} to {grid}")
    if flags.film:
        print(f"wrote an animation to {flags.film}")
    made = {"samples": n, "folder": flags.out, "grid": grid, "animation": flags.film}
    return Answer({**made, "channels": colours})


def _count(flags: SampleFlags, given: dict[str, tuple[Any, int]], words: list[str]) -> int:
    """Return the number of samples.

    This is the value of -n. If -n is not given and a condition has several values, the number of
    these values is returned instead.
    """
    most = max([1, *(rows for _, rows in given.values())])
    asked = any(word.startswith("-n") or word.split("=")[0] == "--n" for word in words)
    return flags.n if asked or most == 1 else most


def _colours(of: str, statistics: dict[str, list[float]]) -> None:
    mean, std = (" ".join(f"{v:6.1f}" for v in statistics[k]) for k in ("mean", "std"))
    print(f"channels of the {of:<12}  mean {mean}   std {std}")
