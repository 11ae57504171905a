"""The sections of a page that show samples of a diffusion model.

The constants limit the number of samples, whatever options the user chooses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from mezzotint import evaluation
from mezzotint.config.sampling import SampleConfig, chosen
from mezzotint.diffusion.level import Level
from mezzotint.drawing.inline import png, strip
from mezzotint.drawing.page import Cell, InlineImage, Section, Table
from mezzotint.errors import UserError, counted
from mezzotint.evaluation.samples import Follow
from mezzotint.metrics.features import Features
from mezzotint.pages.colours import channels
from mezzotint.pages.edited import editing
from mezzotint.pages.runs import Options, Run
from mezzotint.pipeline import loading
from mezzotint.pipeline.pipeline import Pipeline

CLASSES, ROW = 10, 8  # limits on the number of classes, and of images side by side
SEEDS, LEVELS, WALK = 3, 8, 50  # limits: trajectories, levels of each, and steps
METHODS, STEPS, EACH = ("ddim", "dpmpp_2m", "unipc"), (5, 10, 20, 50), 4
FEW = (1, 2, 4, 8)  # steps of a few-step model
SCALES, GUIDED = (0.0, 1.0, 2.0, 4.0), 6
TRAILING: dict[str, Any] = {"spacing": "trailing"}


@dataclass(frozen=True, eq=False)
class Model:
    """The model of a run, and the samples in the first section, which other sections use too."""

    run: Run
    pipe: Pipeline
    options: Options
    follow: Follow
    images: Tensor  # (N, C, H, W): ``options.samples`` of each class, one class after another

    def strip(self, images: Tensor, alt: str, columns: int = 1) -> InlineImage:
        """Convert images (N, C, H, W) to 8 bits, and arrange them in ``columns`` columns."""
        return strip(self.pipe.values.visible(images), alt, columns)

    def make(
        self, what: str, n: int, labels: list[int] | None, requests: Sequence[dict[str, Any]]
    ) -> list[Tensor]:
        """Return n samples for each request (a dict of settings), always from the same noise."""
        total = n * len(requests)

        def on_step(done: int, calls: int) -> None:
            self.follow(what, len(made) * n + n * done / calls, total)

        made: list[Tensor] = []
        for settings in requests:
            seed = self.options.seed
            made.append(self.pipe.sample(n, labels, seed=seed, on_step=on_step, **settings))
        return made


def samples(run: Run, options: Options, follow: Follow) -> Iterator[Section]:
    """Yield the samples by class, the sections in `SECTIONS` and, if wanted, edits of images.

    If a section in `SECTIONS` cannot be made, its text gives the reason. If the model cannot be
    loaded, there is a single section, whose text gives the reason.
    """
    try:
        pipe = loading.load(run.folder, precision=options.precision)
    except UserError as error:
        yield Section("Samples", f"No samples were made for this page: {error}.")
        return
    classes = min(len(pipe.classes), CLASSES)
    labels = [k for k in range(classes or ROW) for _ in range(options.samples)]
    model = Model(run, pipe, options, follow, torch.empty(0))
    (images,) = model.make("samples", len(labels), labels if classes else None, [{}])
    model = replace(model, images=images)
    yield by_class(model)
    for title, section in SECTIONS.items():
        try:
            found = section(title, model)
        except UserError as error:
            found = Section(title, f"Not shown: {error}.")
        if found:
            yield found
    if options.edits:
        yield editing(run, pipe, options.seed, follow)


def by_class(model: Model) -> Section:
    """Return a section that shows the samples in a table with a row for each class."""
    pipe, each, images = model.pipe, model.options.samples, model.images
    how = f"{_settings(pipe.defaults)}; seed {model.options.seed}"
    text = f"{counted(len(images), 'sample')} by {how}."
    if shown := pipe.values.shown_as(images.shape[1]):
        text += f" The page shows {shown}."
    if not pipe.classes:
        table = Table([("", model.strip(images, f"{len(images)} samples", ROW))])
        return Section("Samples", text, tables=[table])
    names = pipe.classes[: len(images) // each]
    if len(names) < len(pipe.classes):
        text += f" The first {len(names)} of {len(pipe.classes)} classes."
    rows = [
        (name, model.strip(part, f"{counted(each, 'sample')} of the class {name}", ROW))
        for name, part in zip(names, torch.split(images, each), strict=True)
    ]
    return Section("Samples by class", text, tables=[Table(rows)])


def trajectories(title: str, model: Model) -> Section:
    """Return a section with x, and the network's estimate of x0, at several steps of sampling."""
    pipe = model.pipe
    steps = min(pipe.defaults.steps, WALK)
    own = {} if pipe.few_step else {"sampler": "ddim", "steps": steps}
    how = chosen(pipe.defaults, own)
    seen: list[tuple[Level, dict[str, Tensor]]] = []

    def record(first: int, level: Level, x: Tensor, x0: Tensor) -> None:
        seen.append((level, {"x": x, "x0": x0}))
        model.follow(title, SEEDS * len(seen) / steps, SEEDS)

    exactly = replace(pipe, defaults=how)
    exactly.sample(SEEDS, seed=model.options.seed, batch=SEEDS, on_estimate=record)
    with torch.inference_mode():
        count = min(LEVELS, len(seen))
        kept = [seen[round(i * (len(seen) - 1) / max(1, count - 1))] for i in range(count)]
        parts = {
            what: [pipe.codec.decode(at[what]).cpu() for _, at in kept] for what in ("x", "x0")
        }
    times = [f"t {level.t:.0f}" for level, _ in kept]
    rows: list[tuple[Cell, ...]] = []
    for i in range(SEEDS):
        for what, images in parts.items():
            alts = [f"Trajectory {i + 1}, {what} at {t}" for t in times]
            shown = [image[i : i + 1] for image in images]
            rows.append((f"{i + 1}: {what}", *map(model.strip, shown, alts)))
    text = (
        f"{SEEDS} samples by {_settings(how)}. The rows show the noisy image x at some levels and "
        "below it x0, the clean image that the network expects there. The last x0 is the sample."
    )
    return Section(title, text, tables=[Table(rows, ("", *times))])


def samplers(title: str, model: Model) -> Section:
    """Return a section with samples from the same noise, by several samplers and step counts."""
    pipe = model.pipe
    methods: Sequence[str] = METHODS
    steps = [n for n in STEPS if n <= len(pipe.schedule)]
    if few := pipe.few_step:
        methods, steps = [pipe.defaults.sampler], [few.calls] if few.calls else [*FEW]
    # The spacings optimised and knots give a grid for only one number of steps.
    own = {} if pipe.defaults.spacing not in ("optimised", "knots") else TRAILING
    requests = [{"sampler": s, "steps": n, **own} for s in methods for n in steps]
    found = iter(model.make(title, EACH, pipe.labels(EACH), requests))
    rows: list[tuple[Cell, ...]] = [
        (s, *(model.strip(next(found), f"{EACH} samples by {s} in {n} steps", 2) for n in steps))
        for s in methods
    ]
    text = (
        f"{EACH} samples from the same noise in each cell, with "
        f"{_settings(chosen(pipe.defaults, own), brief=True)}."
    )
    return Section(title, text, tables=[Table(rows, ("", *(f"{n} steps" for n in steps)))])


def guidance(title: str, model: Model) -> Section | None:
    """Return a section with samples from the same noise at several guidance scales.

    Returns None if the model has no classes or is a few-step model.
    """
    pipe = model.pipe
    if not pipe.classes or pipe.few_step:
        return None
    n = min(GUIDED, len(pipe.classes))
    requests = [{"guidance": scale, "guidance_shape": "constant"} for scale in SCALES]
    everywhere = replace(pipe, defaults=replace(pipe.defaults, interval=None))
    found = replace(model, pipe=everywhere).make(title, n, list(range(n)), requests)
    rows: list[tuple[Cell, ...]] = [
        (
            pipe.classes[i],
            *(
                model.strip(images[i : i + 1], f"{pipe.classes[i]}, guidance {scale:g}")
                for scale, images in zip(SCALES, found, strict=True)
            ),
        )
        for i in range(n)
    ]
    text = "Each row has the same noise. Scale 0 ignores the class, and scale 1 is no guidance."
    return Section(title, text, tables=[Table(rows, ("", *(f"{s:g}" for s in SCALES)))])


def nearest(title: str, model: Model) -> Section:
    """Return a section with samples and, next to each, its nearest training images.

    The distance is measured between features of a feature network.
    """
    pipe = model.pipe
    images = model.images[:: model.options.samples][:CLASSES]  # the first sample of each class
    against = evaluation.training_set(model.run.folder, pipe)
    assert against.images
    network = against.network
    measure = evaluation.measure(network, against, pipe.size, pipe.device)
    features = Features(measure.network, len(images))
    images = pipe.values.rgb(images)
    features.add(images)
    sheet = evaluation.closest(features, measure, images, against.images)
    text = (
        f"Each row shows a sample and then the five images of {against.name} that are nearest to "
        f"it in the features of the {network} network."
    )
    alt = f"{len(images)} rows of a sample and its five nearest training images"
    return Section(title, text, images=[InlineImage(png(sheet), alt)])


def colour(title: str, model: Model) -> Section:
    """Return a section that compares the colours of the samples and of the training set."""
    if not model.pipe.colour:
        raise UserError(
            "the model does not record the colours of its training set: train it again with this "
            "version"
        )
    some = f" of the first {CLASSES} classes" * (len(model.pipe.classes) > CLASSES)
    return channels(title, model.images, f"samples{some}", model.pipe.colour, "training set")


SECTIONS: dict[str, Callable[[str, Model], Section | None]] = {
    "From noise to image": trajectories,
    "Samplers and steps": samplers,
    "Guidance": guidance,
    "Nearest training images": nearest,
    "Channels": colour,
}


def _settings(how: SampleConfig, brief: bool = False) -> str:
    """Return sampling settings in words; ``brief`` leaves out the sampler and the steps."""
    parts = [] if brief else [f"{how.sampler}", f"{how.steps} steps"]
    return ", ".join([*parts, f"{how.spacing} spacing", f"guidance {how.guidance:g}"])
