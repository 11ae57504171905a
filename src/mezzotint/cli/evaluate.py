"""The verb ``evaluate``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from torch import Tensor

from mezzotint import evaluation
from mezzotint.cli.flags import parse, settings, subject
from mezzotint.cli.reconstructions import reconstructions
from mezzotint.cli.table import Following, Network
from mezzotint.config.sampling import SampleConfig
from mezzotint.drawing.bars import FIRST
from mezzotint.errors import UserError
from mezzotint.evaluation.against import Against
from mezzotint.evaluation.measuring import Measure
from mezzotint.metrics.features import Features
from mezzotint.metrics.networks import choose
from mezzotint.pipeline import loading, shipped
from mezzotint.storage.arrays import nchw
from mezzotint.storage.files import writable

Metric = Literal["fd", "sfd", "cs", "kd", "prdc", "accuracy", "memorised"]
EVERY: tuple[Metric, ...] = get_args(Metric)


@dataclass(frozen=True)
class Measures:
    """What is measured, and against what."""

    against: str = ""
    """A data set, pictures (folder, zip, parquet, .npy, .npz) or a reference's file to measure
    against; of a run by default its training set."""
    against_split: str = "train"
    """The part of it."""
    size: int | None = None
    """Scale and crop pictures that come from a data set or files to this side."""
    network: tuple[Network, ...] = ()
    """Feature networks; by default the one in the package that suits the classes."""
    metrics: tuple[Metric, ...] = EVERY
    """fd: Frechet distance, sfd: spatial, cs: classifier score, kd: kernel distance, prdc:
    precision, recall, density, coverage."""


@dataclass(frozen=True)
class ModelFlags:
    """Measure a model's pictures against its training set. The defaults are the run's own.

    Autoencoders and pictures have flags of their own: `mezzotint evaluate NAME --help`.
    """

    how: SampleConfig
    out: Path
    """The folder of figures.jsonl, to which figures are appended, and of nearest.png."""
    what: Measures = Measures()
    samples: str = "10k"
    """How many: a number, 1k, 5k, 10k or 50k; figures come at each of those on the way."""
    seed: int = 0
    """Picture i follows from the seed and i alone."""
    batch: int = 64
    """How many are made at once."""
    nfe: int | None = None
    """A budget of denoiser calls a picture, in the place of --steps."""
    weaker: Path | None = None
    """A weaker model, which guides in the place of the unconditional network (autoguidance)."""
    precision: Literal["float32", "bf16", "auto"] = "float32"
    """What the model computes in; auto is bf16 where the hardware has it."""


@dataclass(frozen=True)
class PicturesFlags:
    """Measure pictures against others: data sets, folders, zips, parquet or .npy, .npz arrays."""

    out: Path = Path("evaluation")
    """The folder of figures.jsonl, to which figures are appended, and of nearest.png."""
    split: str = "train"
    """The part that is measured."""
    what: Measures = Measures()


def evaluate(arguments: list[str]) -> None:
    """Measure a model, an autoencoder, or pictures.

    A model of the package may be called as its data is: ``--split`` says that the data is meant.
    """
    shown = ModelFlags(SampleConfig(), Path("RUN/evaluation"))
    what = "a run, a checkpoint, a diffusers folder, a shipped model, or pictures"
    name, rest = subject(arguments, what, "mezzotint evaluate RUN", shown)
    data = shipped.find(name) and any(flag.split("=")[0] == "--split" for flag in rest)
    if loading.is_autoencoder(name):
        reconstructions(name, rest)
    elif loading.is_model(Path(name)) and not data:
        _model(name, rest)
    else:
        _pictures(name, rest)


def _model(name: str, rest: list[str]) -> None:
    folder = loading.locate(name)
    share, device = evaluation.join()
    pipe = loading.load(folder, device)
    run = (folder / "checkpoints").is_dir()
    default = ModelFlags(settings(pipe.defaults, rest), (folder if run else Path()) / "evaluation")
    flags = parse(default, rest, f"mezzotint evaluate {name}")
    networks = flags.what.network or [choose(pipe.classes)]
    evaluation.anything(flags.what.metrics, networks, pipe.classes)
    tiers = evaluation.tiers(flags.samples)
    how = flags.how.within(flags.nfe)
    writable(flags.out / "figures.jsonl")
    if flags.weaker:
        pipe = pipe.guided_by(loading.load(flags.weaker, device))
    digest, pipe = pipe.digest, pipe.in_precision(flags.precision)
    with share.first():
        if flags.what.against:
            against = evaluation.against(
                flags.what.against, flags.what.against_split, flags.what.size
            )
        else:
            against = evaluation.training_set(folder, pipe)
        measures = [evaluation.measure(network, against, pipe.size, device) for network in networks]
    kept = evaluation.kept(pipe, how, flags.seed, flags.batch)
    facts = {
        "model": name,
        "digest": digest,
        "pictures": kept.name,
        **asdict(how),
        **{name: getattr(flags, name) for name in ("seed", "batch", "nfe", "precision")},
        **({"weaker": str(flags.weaker)} if flags.weaker else {}),
    }
    with Following(tiers[-1]) as following:
        for features, figures in evaluation.evaluate(  # noqa: B007 (the last is used below)
            pipe,
            measures,
            how,
            tiers,
            kept,
            seed=flags.seed,
            batch=flags.batch,
            chosen=flags.what.metrics,
            share=share,
            follow=following.on,
        ):
            following.say(figures)
            evaluation.warn_of_few(figures)
            evaluation.record(flags.out / "figures.jsonl", figures, facts)
    if FIRST:
        images = next(evaluation.stored(kept, 0, 10, flags.batch))
        _finish(features, measures[-1], images, against, flags.out)


def _pictures(name: str, rest: list[str]) -> None:
    flags = parse(PicturesFlags(), rest, f"mezzotint evaluate {name}")
    if not flags.what.against:
        sought = "is no autoencoder, or none that can be fetched: correct the name, or connect; "
        raise UserError(
            f"{name} {sought}to measure the data set of that name, say --against what"
            if name.startswith("hub:")
            else f"to measure {name} as pictures, say --against what"
        )
    share, device = evaluation.join()
    if share.number:
        return
    writable(flags.out / "figures.jsonl")
    found = evaluation.pictures(name, flags.split, flags.what.size)
    networks = flags.what.network or [choose(found.classes)]
    evaluation.anything(flags.what.metrics, networks, found.classes)
    against = evaluation.against(flags.what.against, flags.what.against_split, flags.what.size)
    count, height, width = found.images.shape[:3]
    facts = {"pictures": f"{name} {flags.split}", "fingerprint": found.fingerprint}
    with Following(count) as following:
        for network in networks:
            measure = evaluation.measure(network, against, (height, width), device)
            features, figures = evaluation.compare(found, measure, flags.what.metrics, following.on)
            following.say(figures)
            evaluation.warn_of_few(figures)
            evaluation.record(flags.out / "figures.jsonl", figures, facts)
    images = nchw(found.images[:10])
    _finish(features, measure, images, against, flags.out)


def _finish(
    features: Features, measure: Measure, images: Tensor, against: Against, out: Path
) -> None:
    """What follows the figures: where they are kept, and the nearest pictures."""
    told = f"kept: {out / 'figures.jsonl'}"
    if against.pictures:
        path = out / "nearest.png"
        evaluation.closest(features, measure, images, against.pictures).save(path)
        told += f"; beside each of {len(images)} the five nearest of {against.name}: {path}"
    print(told)
