"""The verb ``evaluate``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from mezzotint import evaluation
from mezzotint.cli.answer import Answer
from mezzotint.cli.flags import check_sampling, parse, settings, subject
from mezzotint.cli.reconstructions import reconstructions
from mezzotint.cli.table import AGAINST, Metric, Network, measured, table
from mezzotint.config.sampling import SampleConfig
from mezzotint.config.sections import SizeField
from mezzotint.drawing.bars import Follower
from mezzotint.errors import UserError, arguments_called
from mezzotint.evaluation import Found, Preparation, Request
from mezzotint.evaluation.nearest import SHOWN
from mezzotint.metrics import METRICS
from mezzotint.networks.precision import Precision
from mezzotint.pipeline import loading, shipped
from mezzotint.processes import join

OFTEN = (
    "--out",
    "--against",
    "--network",
    "--metrics",
    "--samples",
    "--seed",
    "--batch",
    "--sampler",
    "--steps",
    "--guidance",
)


@dataclass(frozen=True)
class Measures:
    """The options of every measurement: the reference, the feature networks and the metrics."""

    against: str = ""
    """The reference: a data set, images (folder, zip, parquet, .npy, .npz) or a saved reference; by
    default the training set of a run.
    """
    against_split: str | None = None
    """The split of the reference; by default train."""
    against_range: tuple[float, float] | None = None
    """The values of black and white in the reference, for arrays and 32-bit images."""
    size: SizeField = None
    """Scale and crop the images of a data set or files to this side in pixels, or to HEIGHTxWIDTH;
    by default to the size of a model's samples."""
    network: tuple[Network, ...] = ()
    """Feature networks. By default: the network of the reference, if --against is a saved
    reference; otherwise glyphs for the data set glyphs, and cifar10 for all other data."""
    metrics: tuple[Metric, ...] = tuple(METRICS)
    """fd: Frechet distance, sfd: spatial Frechet distance, cs: classifier score, kd: kernel
    distance, prdc: precision, recall, density and coverage."""

    def preparation(self) -> Preparation:
        """Return the options for preparing the reference."""
        return Preparation(self.against_split, self.size, self.against_range)

    def request(self, out: Path, follow: Follower) -> Request:
        return Request(
            self.network, self.metrics, out, follow, lambda figures: follow.say(table(figures))
        )


@dataclass(frozen=True)
class ModelFlags:
    """Measure a model's samples against its training set.

    The model's own sampling settings are the defaults; `mezzotint evaluate MODEL --help` shows
    them. Autoencoders and images have flags of their own: `mezzotint evaluate NAME --help`.
    """

    how: SampleConfig
    out: Path
    """The folder for figures.jsonl, to which the figures are appended, and for nearest.png."""
    what: Measures = Measures()
    samples: str = "10k"
    """How many samples: a number, 1k, 5k, 10k or 50k. Figures for smaller counts among these four
    are added: 10k adds figures for 1k and 5k."""
    seed: int = 0
    """The seed; the noise of sample i depends only on the seed and i."""
    batch: int = 64
    """How many samples to make at once."""
    nfe: int | None = None
    """A budget of denoiser calls per sample, instead of --steps."""
    weaker: Path | None = None
    """A weaker model that guides instead of the unconditional network (autoguidance)."""
    precision: Precision = "auto"
    """The precision of the model; auto is bf16 on hardware that computes in it, else float32."""


@dataclass(frozen=True)
class ImagesFlags:
    """Measure images (a data set, folder, zip, parquet, .npy or .npz file) against other images."""

    out: Path = Path("evaluation")
    """The folder for figures.jsonl, to which the figures are appended, and for nearest.png."""
    split: str = "train"
    """The split of the images to measure."""
    range: tuple[float, float] | None = None
    """The values of black and white in the images to measure, for arrays and 32-bit images."""
    what: Measures = Measures()


def evaluate(arguments: list[str]) -> Answer:
    """Measure a model, an autoencoder or images, and return the figures (metric values).

    If a data set and a model (shipped or on the hub) have the same name, the name means the data
    set if ``--split`` is given, and the model otherwise.
    """
    shown = ModelFlags(SampleConfig(), Path("RUN/evaluation"))
    what = "a run, a checkpoint, a diffusers folder, a shipped model, or images"
    name, rest = subject(arguments, what, "mezzotint evaluate RUN", shown, OFTEN)
    named = shipped.find(name) or name.startswith("hub:")
    if named and any(flag.split("=")[0] == "--split" for flag in rest):
        return _images(name, rest)
    if loading.is_autoencoder(name):
        return reconstructions(name, rest)
    if loading.is_model(name):
        return _model(name, rest)
    return _images(name, rest)


def _model(name: str, rest: list[str]) -> Answer:
    """Return the figures of the samples of a model."""
    share, device = join()
    with share.first():  # because it may download
        folder = loading.locate(name)
        pipe = loading.load(folder, device, "float32")
    run = (folder / "checkpoints").is_dir()
    default = ModelFlags(settings(pipe.defaults, rest), (folder if run else Path()) / "evaluation")
    flags = parse(default, rest, f"mezzotint evaluate {name}", OFTEN)
    check_sampling(rest, flags.how, flags.weaker)
    counts = evaluation.tiers(flags.samples)
    with Follower("images") as follow, arguments_called(**AGAINST):
        found = evaluation.of_model(
            replace(pipe, defaults=flags.how),
            flags.what.request(flags.out, follow),
            flags.what.against or None,
            preparation=flags.what.preparation(),
            counts=counts,
            name=name,
            seed=flags.seed,
            batch=flags.batch,
            weaker=flags.weaker,
            precision=flags.precision,
            settings={"nfe": flags.nfe},
        )
    return _finish(found, flags.out)


def _images(name: str, rest: list[str]) -> Answer:
    """Return the figures of images against a reference."""
    flags = parse(ImagesFlags(), rest, f"mezzotint evaluate {name}")
    if not flags.what.against:
        sought = "is not a model, or cannot be fetched: correct the name, or check the connection; "
        raise UserError(
            f"{name} {sought}to measure the data set of that name, give the reference as `against`"
            if name.startswith("hub:")
            else f"{name} is read as images, not as a model: set `against` to the images to "
            "compare with"
        )
    share, _ = join()
    if share.number:
        return Answer({})
    with Follower("images") as follow:
        request = flags.what.request(flags.out, follow)
        request.check_out()
        how = Preparation(flags.split, flags.what.size, flags.range)
        images = evaluation.images_of(name, how)
        with arguments_called(**AGAINST):
            found = evaluation.of_images(
                *(images, request, flags.what.against, flags.what.preparation()),
                facts={"pictures": f"{name} {flags.split}"},
            )
    return _finish(found, flags.out)


def _finish(found: Found, out: Path) -> Answer:
    """Print the paths of the written files; return the figures and these paths as an `Answer`.

    Only the first process has figures. The other processes print nothing, and return an empty
    `Answer`.
    """
    if not found.against:
        return Answer({})
    done = f"appended the figures to {out / 'figures.jsonl'}"
    if found.drawn:
        nearest = f"each with the five nearest images of {found.against.name}"
        done += f"; wrote {SHOWN} samples, {nearest}, to {found.drawn}"
    print(done)
    return measured(found, out)
