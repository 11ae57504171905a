"""Precision, recall, density and coverage."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from mezzotint.metrics import interval
from mezzotint.metrics.comparison import Comparison, shuffled
from mezzotint.metrics.figure import Figure
from mezzotint.metrics.left_out import LeftOut
from mezzotint.metrics.neighbours import distances, nearest

MOST = 10_000  # images: larger sets are reduced to random subsets of this size
PRECISION_K, DENSITY_K = 3, 5  # the k of the neighbour at which a ball ends, as in the two papers


def prdc(seen: Comparison) -> Iterator[Figure]:
    """Yield precision, recall, density and coverage; `neighbourhood` defines them.

    The samples and the reference are reduced to the same number of images.
    """
    n, m = seen.count, seen.against.origin.count
    few = min(n, m, MOST)
    real, made = seen.against.pool[shuffled(m)[:few]], seen.pool[shuffled(n)[:few]]
    note = "random images from each set"
    for name, values in neighbourhood(real, made).items():
        bounds = (interval.of_mean if name == "density" else interval.of_share)(values)
        yield seen.figure(name, float(values.mean()), bounds, note, count=few)


def neighbourhood(real: Tensor, made: Tensor) -> dict[str, Tensor]:
    """Return values for single images, whose means are precision, recall, density and coverage.

    The radius of the ball around an image is the distance to its k-th nearest neighbour in its own
    set. Precision is the share of generated images that lie in the ball of a real image. Recall is
    the share of real images that lie in the ball of a generated image. Both have k = 3
    (Kynkaanniemi et al. 2019, arXiv 1904.06991). For each generated image, count the real images
    whose balls contain it: density is the mean of these counts, divided by k. Coverage is the share
    of real images whose balls contain any generated image. Density and coverage have k = 5 (Naeem
    et al. 2020, arXiv 2002.09797).

    ``real`` (N, D) and ``made`` (M, D) are the features of the real and the generated images.
    The values for precision and density are (M,), for recall and coverage (N,). Raises LeftOut if a
    set has fewer than 6 images.
    """
    if (fewest := min(len(real), len(made))) <= DENSITY_K:
        raise LeftOut(
            f"precision, recall, density and coverage need {DENSITY_K + 1} images of each set, but "
            f"one set has {fewest}: give more images"
        )
    # The nearest row of each row is itself, at distance 0.
    real_radii = nearest(real, real, DENSITY_K + 1)[0]
    narrow, wide = real_radii[:, PRECISION_K], real_radii[:, DENSITY_K]
    made_radii = nearest(made, made, PRECISION_K + 1)[0][:, PRECISION_K]
    precision, density = [], []
    recall = torch.zeros(len(real), dtype=torch.bool)
    closest = torch.full_like(wide, torch.inf)  # from each real image to the nearest made image
    start = 0
    for block in distances(made, real):
        precision.append((block <= narrow).any(1))
        density.append((block <= wide).sum(1) / DENSITY_K)
        radii = made_radii[start : start + len(block), None]
        recall |= (block <= radii).any(0)
        closest = torch.minimum(closest, block.min(0).values)
        start += len(block)
    return {
        "precision": torch.cat(precision).double(),
        "recall": recall.double(),
        "density": torch.cat(density).double(),
        "coverage": (closest <= wide).double(),
    }
