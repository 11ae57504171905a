"""A model's pictures, or any others, measured against a data set.

The pictures that a model is measured by are kept (`mezzotint.samples`): an evaluation that was
stopped goes on where it stood, and one of more pictures makes only those that are missing.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor

from mezzotint import data, jsonl, metrics, shipped
from mezzotint.data import Prepared
from mezzotint.errors import UserError
from mezzotint.experiment import SampleConfig
from mezzotint.experiment import read as read_config
from mezzotint.machine import commit, processor
from mezzotint.metrics import FeatureNetwork, Features, Figure, Reference
from mezzotint.metrics.measure import anything, enough
from mezzotint.metrics.neighbours import nearest
from mezzotint.metrics.networks import choose
from mezzotint.metrics.reference import fitting, read
from mezzotint.pipeline import Pipeline
from mezzotint.report import figures
from mezzotint.samples import ALONE, Follow, Share, block, join, kept, make, stored

__all__ = [
    "Against",
    "Features",
    "Figure",
    "Follow",
    "Measure",
    "Share",
    "against",
    "anything",
    "choose",
    "closest",
    "compare",
    "evaluate",
    "join",
    "kept",
    "measure",
    "pictures",
    "record",
    "stored",
    "tiers",
    "training_set",
    "warn_of_few",
]

TIERS = (1_000, 5_000, 10_000, 50_000)
ENOUGH = 2_049


@dataclass(frozen=True, eq=False)
class Measure:
    """A feature network, and a data set's statistics in its eyes."""

    network: FeatureNetwork
    reference: Reference


@dataclass(frozen=True, eq=False)
class Against:
    """What pictures are measured against: a data set by name, or by its path a reference's file."""

    name: str
    pictures: Prepared | None = None


def evaluate(
    pipe: Pipeline,
    measures: Sequence[Measure],
    how: SampleConfig,
    tiers: Sequence[int],
    folder: Path,
    *,
    seed: int = 0,
    batch: int = 64,
    chosen: Sequence[str] = metrics.METRICS,
    share: Share = ALONE,
    follow: Follow = lambda what, done, total: None,
) -> Iterator[tuple[Features, list[Figure]]]:
    """Measure a model by pictures of its classes in turn, at each of the rising counts ``tiers``.

    The pictures are kept in ``folder``. Yields, for each tier and measure, the features so far and
    their figures, in the first process alone: the others make their blocks and yield nothing.
    Raises UserError as `measure` and `Pipeline.sample` do.
    """
    enough(tiers[0])
    if batch < 1:
        raise UserError(f"batch is {batch}: make at least one picture at once")
    folder.mkdir(parents=True, exist_ok=True)
    total = tiers[-1]
    seen = [Features(m.network, total) for m in measures]
    mine = range(-(-total // batch))[share.number :: share.count]
    missing = [i for i in mine if not block(folder, i).exists()]
    if pipe.compile_for(len(missing), how):
        follow("pictures, the network compiled first", 0, total)
    for tier in tiers:
        for i in missing:
            if i * batch < tier and not block(folder, i).exists():
                make(pipe, folder, i, how, seed, batch, total, follow)
        share.wait()
        if share.number:
            continue
        for features, m in zip(seen, measures, strict=True):
            for part in stored(folder, features.done, tier, batch):
                features.add(part, lambda done: follow("features", done, total))
            told = pipe.labels(tier), pipe.classes
            yield features, list(metrics.measure(features, m.reference, chosen, *told))


def compare(
    images: Prepared,
    measure: Measure,
    chosen: Sequence[str] = metrics.METRICS,
    follow: Follow = lambda what, done, total: None,
) -> tuple[Features, list[Figure]]:
    """The figures of a set of pictures, with the features they come from."""
    total = len(images.images)
    seen = metrics.features(
        measure.network, images.images, lambda done: follow("features", done, total)
    )
    told = images.labels.tolist() if images.classes else None, images.classes
    return seen, list(metrics.measure(seen, measure.reference, chosen, *told))


def measure(network: str, against: Against, size: tuple[int, int], device: torch.device) -> Measure:
    """What pictures of a size (H, W) are measured with: a network and a reference in its eyes.

    Raises UserError for a reference that does not fit the network or the pictures.
    """
    features = metrics.network(network, device)
    if against.pictures is None:
        found = read(Path(against.name))
    else:
        p = against.pictures
        height, width = p.images.shape[1:3]
        if (height, width) != size:
            raise UserError(
                f"the pictures of {against.name} are of {height}x{width}, those to measure of "
                f"{size[0]}x{size[1]}: scale them with --size, or give others"
            )
        found = metrics.reference(features, p.images, p.fingerprint, against.name)
    return Measure(features, fitting(found, features, size))


def against(source: str, split: str, size: int | None) -> Against:
    """What the user wrote as what to measure against: a data set, pictures or a reference."""
    if source.endswith(".safetensors"):
        return Against(source)
    return Against(f"{source} {split}", pictures(source, split, size))


def training_set(folder: Path, pipe: Pipeline) -> Against:
    """What a run or a checkpoint was trained on, un-augmented.

    Raises UserError for a model that does not say, and where the data has changed since; for a
    model that came with the package, whose user may have a copy in another order, it warns.
    """
    if pipe.data is None:
        raise UserError(f"{folder} does not say what it was trained on: say --against what")
    c = read_config(folder / "config.json").data
    found = data.prepare(c.data, c.size, skip_bad=c.skip_bad)
    if found.fingerprint != pipe.data:
        told = (
            f"{c.data} is not what {folder} was trained on (SHA-256 {found.fingerprint[:12]}, then "
            f"{pipe.data[:12]})"
        )
        if not shipped.is_shipped(folder):
            raise UserError(f"{told}: give the same data, or say --against what")
        warnings.warn(f"{told}: no matter if it is the same in another order", stacklevel=2)
    return Against(f"{c.data} train", found)


def pictures(source: str, split: str, size: int | None) -> Prepared:
    """A set of pictures to measure or to measure against, as `data.prepare` has it.

    Warns of JPEG files: their artefacts are in the features, and no diffusion model draws them.
    """
    found = data.prepare(source, size, split)
    if jpegs := data.jpegs(source, split):
        warnings.warn(
            f"{jpegs:,} of the pictures in {source} are JPEG files: their artefacts bias FID and "
            "every other figure; save pictures to be measured as PNG",
            stacklevel=2,
        )
    return found


def tiers(samples: str) -> list[int]:
    """1k, 5k, 10k, 50k or any number, with the tiers below it: "5k" -> [1000, 5000]."""
    text = samples.lower().removesuffix("k")
    if not text.isdecimal() or not int(text):
        raise UserError(f"samples is {samples!r}: give 1k, 5k, 10k, 50k or a number")
    count = int(text) * (1000 if text != samples.lower() else 1)
    return [*(tier for tier in TIERS if tier < count), count]


def warn_of_few(found: Sequence[Figure]) -> None:
    """Warn where so few pictures were measured that their Frechet distance is misleading."""
    samples = max(figure.samples for figure in found)
    if samples < ENOUGH:
        warnings.warn(
            f"{samples:,} pictures are fewer than {ENOUGH:,}: the Frechet distance of few pictures "
            "is too high (by an amount that shrinks as 1/N), and the covariance of Inception's "
            "2,048 features is singular; compare it only with figures of as many pictures",
            stacklevel=2,
        )


def closest(features: Features, measure: Measure, images: Tensor, against: Prepared) -> Image:
    """A picture of the first of the measured, each beside the five nearest that it is held against.

    ``images`` uint8 (n, 3, H, W) are those; nearness is in feature space.
    """
    n, k = len(images), 5
    queries = torch.from_numpy(features.pool[:n])
    found = nearest(queries, measure.reference.pool, k)[1].flatten()
    neighbours = torch.from_numpy(against.images[found.numpy()]).permute(0, 3, 1, 2)
    neighbours = neighbours.reshape(n, k, *neighbours.shape[1:])
    rows = torch.cat([images[:, None], neighbours], 1)
    labels = [i for i in range(n) for _ in range(k + 1)]
    return figures.grid(rows.flatten(0, 1), labels, [f"{i}" for i in range(n)])


def record(path: Path, found: Sequence[Figure], facts: dict[str, Any]) -> None:
    """Append figures to a file of JSON lines, with how they came about."""
    row = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": processor(),
        "mezzotint": commit(),
        "torch": torch.__version__,
        **facts,
        "figures": [asdict(figure) for figure in found],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    jsonl.append(path, row)
