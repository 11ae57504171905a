"""Distances between reconstructions and their originals.

Each image forms a pair with its reconstruction, while `fd`, `sfd` and `kd` assume independent sets.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mezzotint.metrics import interval
from mezzotint.metrics.kd import polynomial_kernel
from mezzotint.metrics.scores import frechet_distance

ROWS = 1000  # rows of the kernel matrices that are computed at a time

PairDistance = Callable[[np.ndarray, np.ndarray], tuple[float, interval.Interval]]
"""``distance(made, real)`` returns the distance of two feature arrays, and its 95 % interval."""


def frechet_of_pairs(made: np.ndarray, real: np.ndarray) -> tuple[float, interval.Interval]:
    """Return the Frechet distance between reconstructions and originals, and its 95 % interval.

    ``made`` and ``real`` are the features (N, D) of the reconstructions and of the originals.
    The interval comes from splitting the pairs at random into two halves, many times. An image and
    its reconstruction vary together, so they stay in the same half; otherwise the interval would be
    too wide. The computation copies the features into an array (N, 2 D), which needs as much memory
    as both arguments. Raises LeftOut if there are fewer than 10 pairs.
    """
    d = made.shape[1]

    def distance(mean: Tensor, covariance: Tensor) -> float:
        return frechet_distance(mean[:d], covariance[:d, :d], mean[d:], covariance[d:, d:])

    value, _, deviation = interval.of_distance(np.hstack([made, real]), distance)
    return value, interval.around(value, deviation)


def kernel_of_pairs(made: np.ndarray, real: np.ndarray) -> tuple[float, interval.Interval]:
    """Return the kernel distance between reconstructions and originals, and its 95 % interval.

        sum_(i != j) (k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(y_i, x_j)) / (N (N - 1))

    where x and y are the features (N, D) of the reconstructions and of the originals, and k is
    `polynomial_kernel`. `kernel_distance` assumes independent sets; for pairs, the similarity of an
    image and its reconstruction would bias it below 0. This estimate is unbiased for pairs, and 0
    if every reconstruction equals its original (Gretton et al. 2012, JMLR 13, eq. 4). Let h_i be
    the mean over j of the terms in the sum. To first order, the variance of the estimate is 4 / N
    times the variance of the h_i.
    """
    n = len(made)
    x, y = (torch.from_numpy(np.array(rows)).double() for rows in (made, real))
    means = torch.empty(n, dtype=torch.float64)
    for start in range(0, n, ROWS):
        p, q = x[start : start + ROWS], y[start : start + ROWS]
        k = [polynomial_kernel(a, b) for a, b in ((p, x), (q, y), (p, y), (q, x))]
        h = k[0] + k[1] - k[2] - k[3]
        h.diagonal(start).zero_()
        means[start : start + ROWS] = h.sum(1) / (n - 1)
    value = float(means.mean())
    return value, interval.around(value, 2 * float(means.std()) / n**0.5)


DISTANCES: dict[str, tuple[str, PairDistance]] = {
    "fd": ("pool", frechet_of_pairs),
    "sfd": ("spatial", frechet_of_pairs),
    "kd": ("pool", kernel_of_pairs),
}
"""The distances for an autoencoder by name: the kind of features, and the function."""
