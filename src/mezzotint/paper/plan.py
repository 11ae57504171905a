"""The experiments at three scales: the models to train, and the samples to measure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from mezzotint.config.durations import scaled
from mezzotint.config.experiment import Autoencoder, Configuration, Experiment
from mezzotint.config.file import to_json
from mezzotint.config.paths import named
from mezzotint.config.recipes import RECIPES
from mezzotint.config.sampling import SampleConfig
from mezzotint.config.sections import NoiseConfig
from mezzotint.errors import UserError
from mezzotint.metrics.measure import enough
from mezzotint.paper.options import Options
from mezzotint.paper.published import DDIM, EXPERIMENTS, PAPER, PUBLISHED
from mezzotint.trainer.loop import TrainConfig
from mezzotint.trainer.objective import ObjectiveConfig

GUIDED = 2.0  # the guidance scale of experiment C in the summary table, and of guided DDIM
SLOW = 500  # a row with this many denoiser calls or more has fewer samples


@dataclass(frozen=True)
class Size:
    """The recipes and the amount of work at one scale.

    The fields ``images``, ``vae_images`` and ``latent_images`` are the lengths of the trainings, in
    images seen. None means the length in the recipe.
    """

    pixels: str  # the recipe of the three pixel models
    vae: str  # the recipe of the autoencoder
    latent: str  # the recipe of the latent model
    samples: int  # the number of samples for each row
    slow: int | None = None  # samples for rows with SLOW calls or more; None means ``samples``
    latent_samples: int | None = None  # samples for the rows of C; None means ``samples``
    images: int | None = None  # the length of training for each of the three pixel models
    vae_images: int | None = None
    latent_images: int | None = None
    prediction: str = "eps"  # the prediction type of the three pixel models


SCALES: dict[str, Size] = {
    "glyphs": Size(
        *("glyphs-ddpm", "glyphs-vae", "glyphs-ldm"),
        samples=192,
        images=40_000,
        vae_images=24_000,
        latent_images=64_000,
        prediction="v",  # after so short a training, predictions of eps leave noise in the images
    ),
    "cifar10": Size(
        *("cifar10-ddpm-small", "tiny-imagenet100-vae", "tiny-imagenet100-ldm"),
        samples=10_000,
        slow=2_000,
        latent_samples=5_000,
        images=1_500_000,
        latent_images=1_000_000,
    ),
    "full": Size("cifar10-ddpm", "imagenet100-vae", "imagenet100-ldm", samples=50_000),
}


@dataclass(frozen=True)
class Row:
    """A row of the table of results: a model and its sampling settings, for one experiment."""

    letter: str
    model: str
    settings: SampleConfig
    samples: int

    @property
    def name(self) -> str:
        name = f"{self.model} {self.settings.sampler.upper()} {self.settings.steps}"
        guided = self.letter == "C" or self.guided
        return name + (f", guidance {self.settings.guidance:g}" if guided else "")

    @property
    def guided(self) -> bool:
        """Whether the row is sampled with classifier-free guidance."""
        return self.settings.guidance != 1

    @property
    def headline(self) -> bool:
        """Whether the summary table of the experiments shows this row."""
        if self.letter == "A":
            return True
        own = self.settings.guidance == (GUIDED if self.letter == "C" else 1)
        return self.settings.steps == 50 and own and self.model != "adaptive"

    @property
    def paper(self) -> float | None:
        """The FID of the experiment in the paper; None if the paper gives none."""
        return PAPER.get(self.letter)

    @property
    def published(self) -> float | None:
        """The FID for this row in the publication of the method; None if there is none."""
        if self.letter == "B":
            return None if self.guided else DDIM.get(self.settings.steps)
        return PUBLISHED[self.letter] if self.headline else None


@dataclass(frozen=True)
class Plan:
    """Everything on which the results of a reproduction depend, except the machine."""

    scale: str
    models: dict[str, Configuration]  # configurations by folder, in the order of training
    rows: tuple[Row, ...]
    samples: int  # the largest number of samples of a row
    seed: int
    precision: str = "auto"
    # Feature networks; () means every network whose weights are on this machine.
    networks: tuple[str, ...] = ()
    folder: Path = field(default=Path(), compare=False)
    flags: dict[str, str] = field(default_factory=dict, compare=False)  # flags of the command

    def fewest(self, row: Row) -> int:
        """Return the smallest number of samples among the rows with the same data set as ``row``.

        All these rows are also measured with this number of samples, so that they can be compared.
        """
        data = self.models[row.model].data.data
        return min(r.samples for r in self.rows if self.models[r.model].data.data == data)

    @property
    def facts(self) -> dict[str, Any]:
        """Return the facts that identify this plan; a folder may hold results of only one plan."""
        return {
            "scale": self.scale,
            "samples": self.samples,
            "seed": self.seed,
            "precision": self.precision,
            **{f"{name} images": c.train.images for name, c in self.models.items()},
            **{f"{name} data": c.data.data for name, c in self.models.items()},
        }


def plan(options: Options) -> Plan:
    """Return the plan of the experiments: the models, and the rows of the table of results.

    Raises UserError if ``only`` is empty or has an unknown experiment, or if there are too few
    samples for a Frechet distance.
    """
    size = SCALES[options.scale]
    samples = options.samples or size.samples
    enough(samples)
    letters = [letter.strip().upper() for word in options.only for letter in word.split(",")]
    if not letters:
        raise UserError("`only` is empty: choose from A, B, C, D")
    if unknown := [letter for letter in letters if letter not in EXPERIMENTS]:
        raise UserError(f"unknown experiment {unknown[0]!r} in `only`: choose from A, B, C, D")
    models, rows = dict[str, Configuration](), list[Row]()
    if {"A", "B"} & {*letters}:
        models["linear"] = _pixels(options, "linear")
    if "D" in letters:
        models["cosine"] = _pixels(options, "cosine")
        models["adaptive"] = _pixels(options, "cosine", levels="adaptive")
    if "C" in letters:
        models |= _latent(options)
    for letter in dict.fromkeys(sorted(letters)):
        for model, settings in _settings(letter):
            own = size.latent_samples if letter == "C" else None
            own = size.slow if settings.calls >= SLOW else own
            if settings.guidance == 1 or models[model].data.conditional:
                rows.append(Row(letter, model, settings, options.samples or own or samples))
    return Plan(
        options.scale,
        models,
        tuple(rows),
        samples,
        options.seed,
        options.precision,
        options.network,
        options.folder,
        _flags(options, letters),
    )


def _settings(letter: str) -> list[tuple[str, SampleConfig]]:
    """Return the rows of an experiment as pairs of a model's name and its sampling settings."""
    if letter == "A":
        return [("linear", SampleConfig("ddpm", 1000, variance="large"))]
    guided = SampleConfig(steps=50, guidance=GUIDED)
    if letter == "B":
        ddim = [("linear", SampleConfig(steps=n)) for n in (1000, 250, 100, 50, 20, 10)]
        return [*ddim, ("linear", guided)]
    if letter == "C":
        settings = SampleConfig(steps=50, clipping="none")
        return [("latent", replace(settings, guidance=w)) for w in (1.0, GUIDED, 4.0)]
    cosine = [("cosine", SampleConfig(steps=n)) for n in (250, 50, 10)]
    return [*cosine, ("cosine", guided), ("adaptive", SampleConfig(steps=50))]


def _pixels(
    options: Options, schedule: Literal["linear", "cosine"], **objective: Any
) -> Experiment:
    """Return the training of one of the three pixel models.

    These models differ only in their schedule and in how often training uses each noise level. As
    in the paper, they predict eps, but at the scale ``glyphs`` they predict v. They are trained
    with AdamW, even if the recipe has Muon, because Ho et al. 2020 used Adam. They are conditioned
    on the class, so that table rows with and without guidance come from the same weights.
    """
    size = SCALES[options.scale]
    recipe = RECIPES[size.pixels]
    assert isinstance(recipe, Experiment)
    return replace(
        recipe,
        data=replace(recipe.data, data=options.data or recipe.data.data),
        noise=NoiseConfig(schedule=schedule, prediction=size.prediction),
        objective=ObjectiveConfig(**objective),
        train=replace(
            budget(recipe.train, options.images or size.images, options.seed), optimizer="adamw"
        ),
        sample=SampleConfig(),
    )


def _latent(options: Options) -> dict[str, Configuration]:
    """Return the trainings of experiment C: the model and, unless one is given, the autoencoder."""
    size, data, vae = SCALES[options.scale], options.imagenet, options.vae
    first, second = RECIPES[size.vae], RECIPES[size.latent]
    assert isinstance(first, Autoencoder)
    assert isinstance(second, Experiment)
    coder = replace(
        first,
        data=replace(first.data, data=data or first.data.data),
        train=budget(first.train, size.vae_images, options.seed),
        evaluate_every=0,
    )
    model = replace(
        second,
        data=replace(second.data, data=data or second.data.data),
        codec=replace(second.codec, vae=vae or str(options.folder.resolve() / "vae")),
        train=budget(second.train, options.images or size.latent_images, options.seed),
        sample=replace(second.sample, guidance=GUIDED),
    )
    return {"latent": model} if vae else {"vae": coder, "latent": model}


def _flags(options: Options, letters: Sequence[str]) -> dict[str, str]:
    """Return the flags of the command that repeats this plan.

    Only the last component of a path to data or to an autoencoder is kept, so the flags do not
    depend on where these are stored.
    """
    flags = {
        "scale": options.scale,
        "only": "" if {*letters} == {*EXPERIMENTS} else ",".join(sorted({*letters})),
        "data": named(options.data),
        "imagenet": named(options.imagenet),
        "vae": named(options.vae),
        "images": f"{options.images or ''}",
        "samples": f"{options.samples or ''}",
        "seed": f"{options.seed or ''}",
        "network": " ".join(options.network),
        "precision": "" if options.precision == Options.precision else options.precision,
        "hours": "" if options.hours == Options.hours else f"{options.hours:g}",
    }
    return {flag: value for flag, value in flags.items() if value}


def budget(train: TrainConfig, images: int | None, seed: int) -> TrainConfig:
    """Return a copy of ``train`` with the given seed, which trains on ``images`` images in total.

    Other durations, such as the warm-up, are scaled in proportion. If ``images`` is None, no
    duration changes.
    """
    return replace(train if images is None else scaled(train, images), seed=seed)


def digest(configuration: Configuration) -> str:
    """Return twelve hex digits that identify a configuration.

    Only the last components of its paths count, so data and autoencoders may be moved.
    """
    facts = to_json(configuration)
    facts["data"]["data"] = named(facts["data"]["data"])
    if "codec" in facts:
        facts["codec"]["vae"] = Path(facts["codec"]["vae"]).name
    text = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
