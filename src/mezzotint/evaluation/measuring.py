"""Measure a model's samples, or any images, against a reference.

The samples are kept (`evaluation.samples`). So an evaluation that was stopped can continue, and an
evaluation with more samples makes only the missing samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from mezzotint import metrics
from mezzotint.config.sampling import SampleConfig
from mezzotint.data import Prepared
from mezzotint.data.rgb import in_rgb, warn_of_rgb
from mezzotint.errors import UserError, warn
from mezzotint.evaluation.against import Against
from mezzotint.evaluation.samples import Follow, block, make, stored
from mezzotint.metrics import FeatureNetwork, Features, Figure, Reference, gather
from mezzotint.metrics.measure import enough
from mezzotint.metrics.networks import figure_name
from mezzotint.metrics.reference import fitting
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.processes import ALONE, Share

ENOUGH = 2_049  # images; with fewer, the covariance of Inception's 2,048 features is singular


@dataclass(frozen=True, eq=False)
class Measure:
    """A feature network, and the statistics of its features on the reference."""

    network: FeatureNetwork
    reference: Reference


def measure(
    network: str | FeatureNetwork,
    against: Against,
    size: tuple[int, int],
    device: torch.device | str = "cpu",
    share: Share = ALONE,
) -> Measure:
    """Return a feature network and its reference, for images of a size (H, W).

    Reference images that are grey or not 8-bit are converted to 8-bit RGB, with a warning.

    Args:
        network: A feature network, or the name of a network to load.
        against: The reference, images or a file.
        size: Height and width of the images to measure.
        device: The device for a network that is loaded by its name.
        share: This process's share of the work, if several processes compute the features of the
            reference.

    Raises:
        UserError: If the reference does not fit the network or the images.
    """
    features = metrics.network(network, device) if isinstance(network, str) else network
    if against.images is None:
        found = against.reference(features)
    else:
        warn_of_rgb(against.images.values, against.images.images.shape[3])
        data = in_rgb(against.images)
        height, width = data.images.shape[1:3]
        if (height, width) != size:
            raise UserError(
                f"the images of {against.name} have {height}x{width} pixels, but the images to "
                f"measure have {size[0]}x{size[1]} (height x width): scale the reference with "
                "`size`, or choose another reference"
            )
        found = metrics.reference(features, data.images, data.fingerprint, against.name, share)
    return Measure(features, fitting(found, features, size))


def measure_samples(
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
    """Measure a model's samples at each of the sample counts ``tiers``.

    The samples have the conditions in ``pipe.examples`` in turn, or all classes in turn if
    ``pipe.examples`` is empty. The counts must increase. The samples are kept in ``folder``, so for
    each count only the missing samples are made. For each count and each `Measure`, the first
    process yields the features and the figures of the samples. The other processes make their
    blocks of samples, compute features, and yield nothing. Raises UserError if a metric or a
    setting does not exist or does not suit the model, if a stored block is damaged, if the first
    count is below 10, or if ``batch`` is below 1.
    """
    enough(tiers[0])
    if batch < 1:
        raise UserError(f"`batch` is {batch}: choose 1 or more")
    folder.mkdir(parents=True, exist_ok=True)
    total = tiers[-1]
    seen = [Features(m.network, total) for m in measures]
    missing = [i for i in range(-(-total // batch)) if not block(folder, i).exists()]
    # Compiled code rounds differently, so whether to compile must not depend on how many processes
    # there are.
    if pipe.compile_for(len(missing), how):
        follow("samples, after the network is compiled", 0, total)
    for tier in tiers:
        for i in (i for i in missing if i % share.count == share.number and i * batch < tier):
            if not block(folder, i).exists():
                make(pipe, folder, i, how, seed, batch, total, follow)
        share.wait()
        for features in seen:
            _see(pipe, features, folder, tier, batch, share, follow)
        if share.number:
            continue
        for features, m in zip(seen, measures, strict=True):
            labels = pipe.labels(tier), pipe.classes
            yield features, list(metrics.measure(features, m.reference, chosen, *labels))


def _see(
    pipe: Pipeline,
    features: Features,
    folder: Path,
    tier: int,
    batch: int,
    share: Share,
    follow: Follow,
) -> None:
    """Add to ``features`` until they cover ``tier`` samples; several processes share this work.

    The processes take the blocks of samples in turn; see `gather`.
    """
    edges = range(batch * (features.done // batch + 1), tier, batch)

    def images(start: int, end: int) -> Tensor:
        (found,) = stored(folder, start, end, batch)
        return pipe.values.rgb(found)

    gather(
        *(features, [*pairwise([features.done, *edges, tier])], images),
        *(folder / features.network.name, share),
        lambda done: follow("features", done, tier),
    )


def measure_images(
    images: Prepared,
    measure: Measure,
    chosen: Sequence[str] | None = None,
    follow: Follow = lambda what, done, total: None,
) -> tuple[Features, list[Figure]]:
    """Return the features of images, and the figures that the metrics yield for them.

    Raises UserError if a metric does not exist, or if there are so few images that no metric can be
    measured.
    """
    total = len(images)
    seen = metrics.features(
        measure.network, images.images, lambda done: follow("features", done, total)
    )
    labels = images.labels.tolist() if images.classes else None, images.classes
    return seen, list(metrics.measure(seen, measure.reference, chosen, *labels))


def warn_of_few(found: Sequence[Figure], reference: Reference) -> None:
    """Warn if there are so few measured or reference images that the figures mislead."""
    distances = [f for f in found if f.name in [figure_name(m, f.network) for m in ("fd", "sfd")]]
    if not distances:
        return
    count, few = max(figure.count for figure in distances), reference.origin.count
    if count < ENOUGH:
        warn(
            f"{count:,} images are fewer than {ENOUGH:,}: the Frechet distance of few images is "
            "too high, by an amount that shrinks as 1/N; compare it only with figures for the same "
            "number of images"
        )
    if 0 < few < ENOUGH:
        warn(
            f"{reference.origin.name}: {few:,} reference images are fewer than {ENOUGH:,}: the "
            "Frechet distance to few reference images is too high; compare it only with figures "
            "that have the same reference"
        )
