"""95 % intervals: how a figure varies between sets of samples of the same model.

The intervals do not include the bias that a finite number of samples causes. `of_distance` also
returns an estimate without this bias: the limit for infinitely many samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from mezzotint.errors import counted
from mezzotint.metrics.left_out import LeftOut
from mezzotint.metrics.moments import Moments
from mezzotint.metrics.scores import inception_score, parts

Interval = tuple[float, float]
Distance = Callable[[Tensor, Tensor], float]

LEAST = 10  # the least number of images for the interval of a distance or a score
REPLICATES = 200  # the number of resamplings for a mean
# A distance is measured on HALVINGS pairs of random halves. With WIDE features or more it is
# measured on FEW pairs, because each pair needs two eigendecompositions of D x D matrices.
HALVINGS, FEW, WIDE = 50, 20, 1024


def check_count(count: int) -> None:
    """Raise LeftOut if there are fewer than `LEAST` images, too few for a distance or a score."""
    if count < LEAST:
        raise LeftOut(f"{counted(count, 'image')} are too few: give at least {LEAST}")


def of_share(right: Tensor) -> Interval:
    """Return Wilson's 95 % interval, within [0, 1], of the share of ones in ``right`` (N,)."""
    n, p, z = len(right), float(right.double().mean()), 1.96
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    reach = z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5 / (1 + z * z / n)
    return max(0.0, min(p, middle - reach)), min(1.0, max(p, middle + reach))


def of_mean(values: Tensor) -> Interval:
    """Return the 95 % interval of the mean of values (N,), by the bootstrap."""
    counts = _resampled(len(values), np.random.default_rng(0))
    return around(float(values.mean()), np.std((counts @ values.double()).numpy()) / len(values))


def around(value: float, deviation: float) -> Interval:
    """Return the 95 % interval of a value with the standard error ``deviation``."""
    return value - 1.96 * float(deviation), value + 1.96 * float(deviation)


def of_score(probabilities: Tensor, splits: int) -> Interval:
    """Return the 95 % interval of `inception_score`'s mean, by the bootstrap within each split."""
    # All parts share one generator. With equal random numbers, the parts would vary together.
    random = np.random.default_rng(0)
    replicates = torch.zeros(REPLICATES, dtype=torch.float64)
    for part in parts(probabilities, splits):
        p = part.double()
        counts = _resampled(len(p), random)
        certainty = counts @ torch.xlogy(p, p).sum(1) / len(p)
        marginal = counts @ p / len(p)
        replicates += (certainty - torch.xlogy(marginal, marginal).sum(1)).exp() / splits
    return around(inception_score(probabilities, splits)[0], float(replicates.std()))


def of_distance(
    rows: np.ndarray, distance: Distance, labels: Sequence[int] | None = None
) -> tuple[float, float, float]:
    """Return a Frechet distance d(N), its limit for infinite N, and the standard deviation of d(N).

    ``distance(mean, covariance)`` is the distance to the reference. The features ``rows`` (N, D)
    are split at random into two halves, many times. The bias of d is c/N to first order (Chong and
    Forsyth 2020, arXiv 1911.07023), so a linear extrapolation in 1/N gives the limit
    ``2 d(N) - d(N/2)``, where d(N/2) is the mean distance of all the halves. Let a and b be the
    distances of the two halves of a split. The halves share no rows, so
    ``var a = E (a - b)^2 / 2``, and d(N) has half of that variance. (A bootstrap repeats rows. If
    the distance is mostly bias, a bootstrap greatly overestimates the spread.)

    If the class counts in ``labels`` (N,) differ by at most 1, each class is split evenly between
    the halves, because random class counts would add to the spread.

    Raises LeftOut for fewer than LEAST rows.
    """
    check_count(len(rows))
    random, classes = np.random.default_rng(0), _balanced(labels)
    whole = Moments.of(rows)
    at = distance(whole.mean, whole.covariance)
    pairs = np.empty((FEW if rows.shape[1] >= WIDE else HALVINGS, 2))
    for pair in pairs:
        order = random.permutation(len(rows))
        if classes is not None:
            # The classes are in a random order too: an odd image may go to either half.
            _, first, each = np.unique(classes[order], return_index=True, return_inverse=True)
            order = order[np.argsort(first[each], kind="stable")]
        for i in (0, 1):
            half = Moments.of(rows, order[i::2])
            pair[i] = distance(half.mean, half.covariance)
    deviation = np.mean((pairs[:, 0] - pairs[:, 1]) ** 2) ** 0.5 / 2
    return at, float(2 * at - pairs.mean()), float(deviation)


def _balanced(labels: Sequence[int] | None) -> np.ndarray | None:
    """Return the labels if the counts of the classes differ by at most 1, else None.

    Such counts do not vary between sets of samples, so they should not vary between halves either.
    """
    if labels is None:
        return None
    counts = np.unique(labels, return_counts=True)[1]
    return np.asarray(labels) if counts.max() - counts.min() <= 1 else None


def _resampled(n: int, random: np.random.Generator) -> Tensor:
    """Return how often each bootstrap replicate draws each of n rows: (REPLICATES, n), float64."""
    return torch.from_numpy(random.multinomial(n, np.full(n, 1 / n), REPLICATES)).double()
