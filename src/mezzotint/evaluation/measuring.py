"""A model's pictures, or any others, measured against a data set.

The pictures that a model is measured by are kept (`evaluation.samples`): an evaluation that was
stopped goes on where it stood, and one of more pictures makes only those that are missing.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL.Image import Image
from torch import Tensor

from mezzotint import metrics
from mezzotint.config.sampling import SampleConfig
from mezzotint.data import Prepared
from mezzotint.drawing import figures
from mezzotint.errors import UserError
from mezzotint.evaluation.against import Against
from mezzotint.evaluation.samples import ALONE, Follow, Share, block, make, stored
from mezzotint.metrics import FeatureNetwork, Features, Figure, Reference
from mezzotint.metrics.measure import enough
from mezzotint.metrics.neighbours import nearest
from mezzotint.metrics.reference import fitting, read
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.storage.arrays import nchw

ENOUGH = 2_049


@dataclass(frozen=True, eq=False)
class Measure:
    """A feature network, and a data set's statistics in its eyes."""

    network: FeatureNetwork
    reference: Reference


def evaluate(
    pipe: Pipeline,
    measures: Sequence[Measure],
    how: SampleConfig,
    tiers: Sequence[int],
    folder: Path,
    *,
    seed: int = 0,
    batch: int = 64,
    chosen: Sequence[str] | None = None,
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
    chosen: Sequence[str] | None = None,
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


def warn_of_few(found: Sequence[Figure]) -> None:
    """Warn where so few pictures were measured that their Frechet distance is misleading."""
    samples = max(figure.count for figure in found)
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
    neighbours = nchw(against.images[found.numpy()])
    neighbours = neighbours.reshape(n, k, *neighbours.shape[1:])
    rows = torch.cat([images[:, None], neighbours], 1)
    labels = [i for i in range(n) for _ in range(k + 1)]
    return figures.grid(rows.flatten(0, 1), labels, [f"{i}" for i in range(n)])
