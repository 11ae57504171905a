"""What a page shows of a model's own making. How many pictures that takes is bounded here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mezzotint import evaluation
from mezzotint.config.experiment import Configuration
from mezzotint.config.sampling import SampleConfig, chosen
from mezzotint.data import held_out, prepare
from mezzotint.diffusion.guidance import along
from mezzotint.diffusion.level import Level
from mezzotint.diffusion.noise import noise
from mezzotint.diffusion.samplers import SAMPLERS
from mezzotint.drawing.colour import channel_statistics
from mezzotint.drawing.inline import colours, png, spreads, tiled
from mezzotint.drawing.page import Cell, Chart, Picture, Section, Table
from mezzotint.errors import UserError
from mezzotint.evaluation.samples import Follow
from mezzotint.metrics.features import Features
from mezzotint.pipeline import loading
from mezzotint.pipeline.pipeline import Pipeline

CLASSES, ROW = 10, 8  # the first classes; pictures side by side
SEEDS, SHOWN, WALK = 3, 8, 50  # trajectories, levels of each, and the most steps
METHODS, STEPS, EACH = ("ddim", "dpmpp_2m", "unipc"), (5, 10, 20, 50), 4
SCALES, GUIDED = (0.0, 1.0, 2.0, 4.0), 6
CHANNELS = ("red", "green", "blue")


@dataclass(frozen=True)
class Asked:
    """How much a page shows: pictures of each class, of which noise, computed in what."""

    samples: int = 8
    seed: int = 0
    precision: str = "float32"


@dataclass(frozen=True)
class Run:
    """A run folder as read, and what it is called on the page."""

    folder: Path
    name: str
    config: Configuration
    log: list[dict[str, Any]]


def made(run: Run, asked: Asked, follow: Follow) -> Iterator[Section]:
    """What a diffusion model makes; one section that says why where it cannot be loaded."""
    try:
        pipe = loading.load(run.folder, precision=asked.precision)
    except UserError as error:
        yield Section("Pictures", f"No pictures were made for this page: {error}.")
        return
    show = _Show(run, pipe, asked, follow)
    yield show.samples()
    parts: list[tuple[str, Callable[[str], Section]]] = [
        ("From noise to picture", show.trajectories),
        ("Samplers and steps", show.samplers),
        *([("Guidance", show.guidance)] if pipe.classes else []),
        ("Nearest training pictures", show.nearest),
        ("Channels", show.channels),
    ]
    for title, part in parts:
        try:
            yield part(title)
        except UserError as error:
            yield Section(title, f"Not shown: {error}.")


class _Show:
    """A model's sections, of which the later show what the first has made."""

    def __init__(self, run: Run, pipe: Pipeline, asked: Asked, follow: Follow) -> None:
        self.run, self.pipe, self.asked, self.follow = run, pipe, asked, follow
        count = min(len(pipe.classes), CLASSES) or ROW
        labels = [k for k in range(count) for _ in range(asked.samples)]
        self.labels = labels if pipe.classes else None
        (self.images,) = self._make("pictures", len(labels), self.labels, [{}])

    def _make(
        self, what: str, n: int, labels: list[int] | None, requests: Sequence[dict[str, Any]]
    ) -> list[Tensor]:
        """n pictures of the same noise for each of some settings."""
        total = n * len(requests)

        def on_step(done: int, calls: int) -> None:
            self.follow(what, len(pictures) * n + n * done / calls, total)

        pictures: list[Tensor] = []
        for how in requests:
            made = self.pipe.sample(n, labels, seed=self.asked.seed, on_step=on_step, **how)
            pictures.append(made)
        return pictures

    def samples(self) -> Section:
        pipe, each, images = self.pipe, self.asked.samples, self.images
        text = f"{len(images)} pictures by {_words(pipe.defaults)}; seed {self.asked.seed}."
        if not pipe.classes:
            alt = f"{len(images)} made pictures"
            table = Table([("", _tiled(images, alt, ROW))])
            return Section("Pictures", text, tables=[table])
        names = pipe.classes[: len(images) // each]
        if len(names) < len(pipe.classes):
            text += f" The first {len(names)} of {len(pipe.classes)} classes."
        rows = [
            (name, _tiled(part, f"{each} made pictures of the class {name}", ROW))
            for name, part in zip(names, torch.split(images, each), strict=True)
        ]
        return Section("Pictures by class", text, tables=[Table(rows)])

    def trajectories(self, title: str) -> Section:
        pipe, seed = self.pipe, self.asked.seed
        steps = min(pipe.defaults.steps, WALK)
        how = chosen(pipe.defaults, {"sampler": "ddim", "steps": steps})
        grid, labels = pipe.grid(how), pipe.labels(SEEDS)
        scale = along(grid, *how.guided())
        denoise = pipe.denoiser(labels, scale, how.rescale, how.clipping)
        seen: list[tuple[Level, dict[str, Tensor]]] = []

        def record(x: Tensor, level: Level) -> Tensor:
            x0 = denoise(x, level)
            seen.append((level, {"x": x, "x0": x0}))
            self.follow(title, SEEDS * len(seen) / steps, SEEDS)
            return x0

        randn = noise(seed, range(SEEDS))
        with torch.inference_mode():
            x = randn(torch.empty(SEEDS, *pipe.shape, device=pipe.device))
            SAMPLERS["ddim"](record, x, grid)
            count = min(SHOWN, len(seen))
            kept = [seen[round(i * (len(seen) - 1) / max(1, count - 1))] for i in range(count)]
            parts = {
                what: [pipe.codec.decode(at[what]).cpu() for _, at in kept] for what in ("x", "x0")
            }
        told = [f"t {level.t:.0f}" for level, _ in kept]
        rows: list[tuple[Cell, ...]] = []
        for i in range(SEEDS):
            for what, images in parts.items():
                alts = [f"Trajectory {i + 1}, {what} at {t}" for t in told]
                shown = [image[i : i + 1] for image in images]
                rows.append((f"{i + 1}: {what}", *map(_tiled, shown, alts)))
        text = (
            f"{SEEDS} pictures by {_words(how)}: the noisy x at some levels on the way, and below "
            "it x0, the clean picture that the network then expects; the last is the result."
        )
        return Section(title, text, tables=[Table(rows, ("", *told))])

    def samplers(self, title: str) -> Section:
        """Each sampler at each number of steps that there are levels for."""
        pipe = self.pipe
        steps = [n for n in STEPS if n <= len(pipe.schedule)]
        # A grid that was measured, or walks given values, is of its own number of steps.
        own = {} if pipe.defaults.spacing not in ("optimised", "knots") else _TRAILING
        requests = [{"sampler": s, "steps": n, **own} for s in METHODS for n in steps]
        found = iter(self._make(title, EACH, pipe.labels(EACH), requests))
        rows: list[tuple[Cell, ...]] = [
            (s, *(_tiled(next(found), f"{EACH} pictures by {s} in {n} steps", 2) for n in steps))
            for s in METHODS
        ]
        text = (
            f"The same {EACH} pictures, of the same noise, {len(requests)} times; "
            f"otherwise {_words(replace(pipe.defaults, **own), brief=True)}."
        )
        return Section(title, text, tables=[Table(rows, ("", *(f"{n} steps" for n in steps)))])

    def guidance(self, title: str) -> Section:
        pipe = self.pipe
        n = min(GUIDED, len(pipe.classes))
        requests = [{"guidance": scale, "guidance_shape": "constant"} for scale in SCALES]
        found = self._make(title, n, list(range(n)), requests)
        rows: list[tuple[Cell, ...]] = [
            (
                pipe.classes[i],
                *(
                    _tiled(images[i : i + 1], f"{pipe.classes[i]}, guidance {scale:g}")
                    for scale, images in zip(SCALES, found, strict=True)
                ),
            )
            for i in range(n)
        ]
        text = f"Of the same noise, {n} pictures a scale: 0 ignores the class, 1 is unguided."
        return Section(title, text, tables=[Table(rows, ("", *(f"{s:g}" for s in SCALES)))])

    def nearest(self, title: str) -> Section:
        pipe = self.pipe
        images = self.images[:: self.asked.samples][:CLASSES]  # the first of each class
        against = evaluation.training_set(self.run.folder, pipe)
        assert against.pictures
        network = evaluation.choose(against.pictures.classes)
        measure = evaluation.measure(network, against, pipe.size, pipe.device)
        features = Features(measure.network, len(images))
        features.add(images)
        sheet = evaluation.closest(features, measure, images, against.pictures)
        text = (
            f"Left a made picture, beside it the five of {against.name} that are nearest in the "
            f"eyes of the {network} network."
        )
        alt = f"{len(images)} rows of a made picture and its five nearest training pictures"
        return Section(title, text, pictures=[Picture(png(sheet), alt)])

    def channels(self, title: str) -> Section:
        if not self.pipe.colour:
            raise UserError("the model does not say what its training set is like")
        return _channels(title, (self.images, "made"), self.pipe.colour, "training set")


_TRAILING: dict[str, Any] = {"spacing": "trailing"}


def reconstructed(run: Run, asked: Asked, follow: Follow) -> Iterator[Section]:
    """What an autoencoder gives back of pictures that its data set holds out, where it has such."""
    title, c = "Reconstructions", run.config.data
    try:
        codec = loading.load_codec(run.folder, precision=asked.precision)
        train = prepare(c.data, size=c.size, skip_bad=c.skip_bad)
        found = held_out(c.data, c.size, train, c.skip_bad)
    except UserError as error:
        yield Section(title, f"Nothing was made for this page: {error}.")
        return
    some = torch.tensor(found.some(2 * asked.samples).images).permute(0, 3, 1, 2).contiguous()
    count = len(some)
    follow(title, 0, count)
    back = codec.decode(codec.encode(some.to(codec.mean.device))).cpu()
    follow(title, count, count)
    rows = [
        (what, _tiled(part, f"{len(part)} pictures: {what}", ROW))
        for parts in zip(torch.split(some, ROW), torch.split(back, ROW), strict=True)
        for what, part in zip(("original", "given back"), parts, strict=True)
    ]
    of = f"{c.data}, {'of its training set' if found is train else 'held out'}"
    text = f"{count} pictures of {of}, and what the autoencoder makes of their latents."
    yield Section(title, text, tables=[Table(rows)])
    told = channel_statistics(some.permute(0, 2, 3, 1).numpy())
    yield _channels("Channels", (back, "given back"), told, "originals")


def _channels(
    title: str, shown: tuple[Tensor, str], other: dict[str, list[float]], others: str
) -> Section:
    """Each channel's mean and standard deviation, of the shown pictures and of others."""
    images, what = shown
    own, name = channel_statistics(images.permute(0, 2, 3, 1).numpy()), f"{len(images)} {what}"
    channels = CHANNELS if len(own["mean"]) == len(CHANNELS) else ("grey",)
    rows = [
        (channel, *(f"{told[what][i]:.1f}" for what in ("mean", "std") for told in (own, other)))
        for i, channel in enumerate(channels)
    ]
    of = ("mean", "deviation")
    head = ("", *(f"{what}, {who}" for what in of for who in (name, others)))
    series = {name: own, others: other}
    alt = f"Bars of the means, with the standard deviations, of {name} pictures and the {others}"
    return Section(
        title,
        "Mean and standard deviation of each channel, in grey levels of 255.",
        legend=list(colours(list(series)).items()),
        charts=[Chart(spreads(channels, series), alt)],
        tables=[Table(rows, head)],
    )


def _tiled(images: Tensor, alt: str, columns: int = 1) -> Picture:
    across = min(columns, len(images))
    return Picture(png(tiled(images, across)), alt, across=across)


def _words(how: SampleConfig, brief: bool = False) -> str:
    """How pictures are made, in words; ``brief`` leaves out sampler and steps."""
    said = [] if brief else [f"{how.sampler}", f"{how.steps} steps"]
    return ", ".join([*said, f"{how.spacing} spacing", f"guidance {how.guidance:g}"])
