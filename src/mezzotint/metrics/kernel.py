"""The kernel distance."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mezzotint.errors import UserError


def polynomial_kernel(a: Tensor, b: Tensor) -> Tensor:
    """``k(x, y) = (x . y / D + 1)^3`` of each row of ``a`` (N, D) with each of ``b`` (M, D).

    Returns (N, M). The kernel of the KID (Binkowski et al. 2018, arXiv 1801.01401).
    """
    return (a @ b.T / a.shape[1] + 1) ** 3


def kernel_distance(
    a: Tensor, b: Tensor, subsets: int = 100, size: int = 1000, seed: int = 2020
) -> tuple[float, float]:
    """The squared maximum mean discrepancy of two sets of features: (mean, std).

    ``E k(a, a') + E k(b, b') - 2 E k(a, b)`` with k `polynomial_kernel`, each pair of a
    set with itself left out, so that it is unbiased: it may be negative, and is 0 on average where
    the sets are of one distribution (Binkowski et al. 2018, arXiv 1801.01401). ``a`` (N, D) and
    ``b`` (M, D) are float; mean and standard deviation are over ``subsets`` random subsets of
    ``size`` rows of each. Raises UserError where a set has fewer rows than that.
    """
    if size < 2 or (fewest := min(len(a), len(b))) < size:
        few = "give at least 2" if size < 2 else f"there are {fewest} pictures"
        raise UserError(f"a kernel distance of subsets of {size}: {few}")
    # The legacy generator: the peers draw their subsets with it, and figures stay comparable.
    random = np.random.RandomState(seed)
    values = []
    for _ in range(subsets):
        x, y = (
            rows[torch.from_numpy(random.choice(len(rows), size, replace=False))].double()
            for rows in (a, b)
        )
        values.append(_squared(x, y))
    return float(np.mean(values)), float(np.std(values))


def _squared(x: Tensor, y: Tensor) -> float:
    m = len(x)
    xx, yy, xy = (polynomial_kernel(*pair) for pair in ((x, x), (y, y), (x, y)))
    within = (xx.sum() - xx.trace() + yy.sum() - yy.trace()) / (m * (m - 1))
    return float(within - 2 * xy.mean())
