"""95 % intervals by the bootstrap: how far a figure would move with other samples of a model.

Resampled rows repeat, which raises a Frechet distance and a score of few rows as a smaller sample
would. So it is the replicates' spread about their own mean that is laid about the figure. What the
number of samples itself does to a figure is no matter of spread, and no interval tells it: that is
what the extrapolation to infinitely many is for.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from mezzotint.metrics.moments import Moments
from mezzotint.metrics.scores import inception_score, parts

Interval = tuple[float, float]
Distance = Callable[[Tensor, Tensor], float]

REPLICATES = 200  # of a mean
DISTANCES, FEW, WIDE = 50, 20, 1024  # of a distance: each takes an eigendecomposition of D x D


def around(value: float, replicates: ArrayLike) -> Interval:
    """``value +- 1.96 s``, s the standard deviation of the replicates."""
    reach = 1.96 * float(np.std(np.asarray(replicates)))
    return value - reach, value + reach


def of_mean(values: Tensor) -> Interval:
    """That of the mean of values (N,)."""
    counts = _resampled(len(values), np.random.default_rng(0))
    return around(float(values.mean()), (counts @ values.double()) / len(values))


def of_score(probabilities: Tensor, splits: int) -> Interval:
    """That of `inception_score`'s mean, resampling within each part."""
    random = np.random.default_rng(0)  # one for all: parts resampled alike would vary together
    replicates = torch.zeros(REPLICATES, dtype=torch.float64)
    for part in parts(probabilities, splits):
        p = part.double()
        counts = _resampled(len(p), random)
        certainty = counts @ torch.xlogy(p, p).sum(1) / len(p)
        marginal = counts @ p / len(p)
        replicates += (certainty - torch.xlogy(marginal, marginal).sum(1)).exp() / splits
    return around(inception_score(probabilities, splits)[0], replicates)


def of_distance(rows: np.ndarray, distance: Distance) -> tuple[float, Interval, float, Interval]:
    """A Frechet distance of rows (N, D) and, for infinitely many, its limit: each with interval.

    ``distance(mean, covariance)`` is to the reference. Its bias is c/N to first order (Chong and
    Forsyth 2020, arXiv 1911.07023); the line through N and N/2, the latter averaged over two random
    halves, meets 1/N = 0 at ``2 d(N) - d(N/2)``. Below 2 (D + 1) rows a half's covariance is
    singular, its bias follows no such law, and the limit is not to be used.
    """
    random = np.random.default_rng(0)
    order = random.permutation(len(rows))
    at, limit = _with_limit(rows, order, distance)
    replicates = [
        _with_limit(rows, random.integers(len(rows), size=len(rows)), distance)
        for _ in range(FEW if rows.shape[1] >= WIDE else DISTANCES)
    ]
    all_at, all_limits = zip(*replicates, strict=True)
    return at, around(at, all_at), limit, around(limit, all_limits)


def _with_limit(rows: np.ndarray, order: np.ndarray, distance: Distance) -> tuple[float, float]:
    halves = [Moments.of(rows, half) for half in np.array_split(order, 2)]
    whole = halves[0] + halves[1]
    at, a, b = (distance(m.mean, m.covariance) for m in (whole, *halves))
    return at, 2 * at - (a + b) / 2


def _resampled(n: int, random: np.random.Generator) -> Tensor:
    """How often each of n rows is drawn in each replicate: (REPLICATES, n), float64."""
    return torch.from_numpy(random.multinomial(n, np.full(n, 1 / n), REPLICATES)).double()
