"""What the report did, at three sizes: which models, and which pictures of theirs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from mezzotint.config.experiment import Autoencoder, Configuration, Experiment
from mezzotint.config.file import to_json
from mezzotint.config.recipes import RECIPES
from mezzotint.config.sampling import SampleConfig
from mezzotint.config.sections import NoiseConfig
from mezzotint.errors import UserError
from mezzotint.metrics.measure import enough
from mezzotint.trainer.loop import TrainConfig
from mezzotint.trainer.objective import ObjectiveConfig

Scale = Literal["glyphs", "cifar10", "full"]

EXPERIMENTS = {
    "A": "linear schedule, every step",
    "B": "the weights of A, fewer steps",
    "C": "in an autoencoder's latents, guided",
    "D": "cosine schedule",
}
# FID, of arXiv 2412.14422 and of the papers that the experiments are from.
REPORT = {"B": "47.92", "C": "323.51"}
DDIM = {10: "13.36", 20: "6.84", 50: "4.67", 100: "4.16", 1000: "4.04"}
PAPERS = {"A": "3.17", "C": "3.60", "D": "2.90"}
SOURCES = (
    "A: Ho et al. 2020; B: Song et al. 2021; C: Rombach et al. 2022, guided, of ImageNet at "
    "256x256; D: Nichol and Dhariwal 2021, in 4,000 steps"
)

GUIDED = 2.0  # the guidance scale of experiment C's row


@dataclass(frozen=True)
class Size:
    """A scale: the recipes it is made of, and how much of them. None: as the recipe has it."""

    pixels: str
    vae: str
    latent: str
    samples: int
    images: int | None = None  # of each model in pixels, of which there are three
    vae_images: int | None = None
    latent_images: int | None = None


SCALES: dict[str, Size] = {
    "glyphs": Size("glyphs-ddpm", "glyphs-vae", "glyphs-ldm", 192, 40_000, 24_000, 64_000),
    "cifar10": Size(
        "cifar10-ddpm-small", "tiny-imagenet100-vae", "tiny-imagenet100-ldm", samples=2_000
    ),
    "full": Size("cifar10-ddpm", "imagenet100-vae", "imagenet100-ldm", samples=50_000),
}


@dataclass(frozen=True)
class Row:
    """Pictures of a model made in one way, for one of the experiments."""

    letter: str
    model: str
    how: SampleConfig

    @property
    def name(self) -> str:
        told = f"{self.model} {self.how.sampler.upper()} {self.how.steps}"
        return told + (f", guidance {self.how.guidance:g}" if self.letter == "C" else "")

    @property
    def headline(self) -> bool:
        """Whether this row stands for its experiment in the table of four."""
        if self.letter == "A":
            return True
        how = self.how
        own = how.guidance == GUIDED if self.letter == "C" else self.model != "adaptive"
        return how.steps == 50 and own

    @property
    def report(self) -> str:
        return REPORT.get(self.letter, "–")

    @property
    def papers(self) -> str:
        if self.letter == "B":
            return DDIM.get(self.how.steps, "–")
        return PAPERS[self.letter] if self.headline else "–"


@dataclass(frozen=True)
class Plan:
    """All that a table follows from, but for the machine."""

    scale: str
    models: dict[str, Configuration]  # by the name of their folder, in the order of training
    rows: tuple[Row, ...]
    samples: int
    seed: int
    precision: str = "auto"
    folder: Path = field(default=Path(), compare=False)
    flags: dict[str, str] = field(default_factory=dict, compare=False)  # of the command

    @property
    def facts(self) -> dict[str, Any]:
        """What may not change between two calls that fill one folder."""
        return {
            "scale": self.scale,
            "samples": self.samples,
            "seed": self.seed,
            "precision": self.precision,
            **{f"{name} images": c.train.images for name, c in self.models.items()},
            **{f"{name} data": c.data.data for name, c in self.models.items()},
        }


def plan(
    scale: str,
    only: Sequence[str],
    folder: Path,
    *,
    data: str = "",
    imagenet: str = "",
    vae: str = "",
    images: int | None = None,
    samples: int | None = None,
    seed: int = 0,
    precision: str = "auto",
) -> Plan:
    """The models and rows of some of the experiments A to D.

    ``images`` is what each diffusion model sees, ``data`` and ``imagenet`` are where the pictures
    are, ``vae`` an autoencoder to take instead of training one. Raises UserError for an experiment
    that there is not, and for too few pictures to be measured.
    """
    enough(samples or SCALES[scale].samples)
    letters = [letter.strip().upper() for word in only for letter in word.split(",")]
    if unknown := [letter for letter in letters if letter not in EXPERIMENTS]:
        raise UserError(f"unknown experiment {unknown[0]!r}: choose of A, B, C, D")
    size, rows = SCALES[scale], list[Row]()
    models: dict[str, Configuration] = {}
    pixels = RECIPES[size.pixels]
    assert isinstance(pixels, Experiment)

    def model(schedule: Literal["linear", "cosine"], **objective: Any) -> Experiment:
        return replace(
            pixels,
            data=replace(pixels.data, data=data or pixels.data.data),
            noise=NoiseConfig(schedule=schedule, prediction=pixels.noise.prediction),
            objective=ObjectiveConfig(**objective),
            train=budget(pixels.train, images or size.images, seed),
            sample=SampleConfig(),
        )

    if {"A", "B"} & {*letters}:
        models["linear"] = model("linear")
    if "D" in letters:
        models |= {"cosine": model("cosine"), "adaptive": model("cosine", levels="adaptive")}
    if "A" in letters:
        rows.append(Row("A", "linear", SampleConfig("ddpm", 1000, variance="large")))
    if "B" in letters:
        rows += [Row("B", "linear", SampleConfig(steps=n)) for n in (1000, 250, 100, 50, 20, 10)]
    if "C" in letters:
        models |= latent(size, folder, imagenet, vae, images, seed)
        how = SampleConfig(steps=50, clipping="none")
        rows += [Row("C", "latent", replace(how, guidance=w)) for w in (1.0, GUIDED, 4.0)]
    if "D" in letters:
        rows += [Row("D", "cosine", SampleConfig(steps=n)) for n in (250, 50, 10)]
        rows.append(Row("D", "adaptive", SampleConfig(steps=50)))
    flags = {
        "scale": scale,
        "only": "" if {*letters} == {*EXPERIMENTS} else ",".join(sorted({*letters})),
        "data": named(data),
        "imagenet": named(imagenet),
        "vae": named(vae),
        "images": f"{images or ''}",
        "samples": "" if samples in (None, size.samples) else f"{samples}",
        "seed": f"{seed or ''}",
        "precision": "" if precision == "auto" else precision,
    }
    asked = {flag: value for flag, value in flags.items() if value}
    return Plan(scale, models, tuple(rows), samples or size.samples, seed, precision, folder, asked)


def named(source: str) -> str:
    """Data or a model by its folder's name, wherever that lies; what is no path as it is."""
    return source if source.startswith("hub:") else Path(source).name or source


def latent(
    size: Size, folder: Path, imagenet: str, vae: str, images: int | None, seed: int
) -> dict[str, Configuration]:
    """Experiment C's autoencoder, unless there is one, and the model in its latents."""
    first, second = RECIPES[size.vae], RECIPES[size.latent]
    assert isinstance(first, Autoencoder)
    assert isinstance(second, Experiment)
    coder = replace(
        first,
        data=replace(first.data, data=imagenet or first.data.data),
        train=budget(first.train, size.vae_images, seed),
        evaluate_every=0,
    )
    model = replace(
        second,
        data=replace(second.data, data=imagenet or second.data.data),
        codec=replace(second.codec, vae=vae or str(folder.resolve() / "vae")),
        train=budget(second.train, images or size.latent_images, seed),
        sample=replace(second.sample, guidance=GUIDED),
    )
    return {"latent": model} if vae else {"vae": coder, "latent": model}


def budget(train: TrainConfig, images: int | None, seed: int) -> TrainConfig:
    """A training of so many images, its other durations shortened or lengthened with it."""
    if images is None:
        return replace(train, seed=seed)
    times = images / train.images
    return replace(
        train,
        images=images,
        warmup=round(train.warmup * times),
        ema_halflife=max(1.0, train.ema_halflife * times),
        seed=seed,
    )


def digest(configuration: Configuration) -> str:
    """Twelve digits that name a configuration, wherever its autoencoder lies."""
    facts = to_json(configuration)
    if "codec" in facts:
        facts["codec"]["vae"] = Path(facts["codec"]["vae"]).name
    told = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:12]
