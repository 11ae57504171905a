"""The kernel distance. With the features of Inception it is the KID."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from mezzotint.errors import counted
from mezzotint.metrics import interval
from mezzotint.metrics.comparison import Comparison
from mezzotint.metrics.figure import Figure
from mezzotint.metrics.left_out import LeftOut

SUBSETS, SUBSET = 100, 1000  # the number of subsets, and the most images in each


def kd(seen: Comparison) -> Iterator[Figure]:
    """Yield `kernel_distance` over 100 subsets of up to 1,000 images of each set.

    Subsets overlap, so their distances vary less than those of fresh samples; the interval of the
    figure corrects for this. The distances would not vary at all if every subset contained all
    images of both sets. So the number of images that a subset takes from each set is also limited
    to (N + M) / 3, where N and M are the sizes of the sets.
    """
    n, m = seen.count, seen.against.origin.count
    pool = seen.against.pool
    size = min(SUBSET, n, m, (n + m) // 3)
    value, spread = kernel_distance(seen.pool, pool, SUBSETS, size)
    share = size / n
    error = spread * (share / (2 - share - size / m) + 1 / SUBSETS) ** 0.5
    note = f"standard deviation {spread:.4f} over {SUBSETS} subsets of {size}"
    yield seen.figure(seen.named("kd"), value, interval.around(value, error), note)


def kernel_distance(
    a: Tensor, b: Tensor, subsets: int = 100, size: int = 1000, seed: int = 2020
) -> tuple[float, float]:
    """Return the mean and the standard deviation of the kernel distance over subsets.

    The kernel distance is the squared maximum mean discrepancy of two sets of features, ``E k(a,
    a') + E k(b, b') - 2 E k(a, b)``, where k is `polynomial_kernel`. Pairs of a row with itself are
    left out, so the estimate is unbiased. It may be negative, and its mean is 0 if both sets have
    the same distribution (Binkowski et al. 2018, arXiv 1801.01401). ``a`` (N, D) and ``b`` (M, D)
    are float. Each of the ``subsets`` random subsets has ``size`` rows of each set. Raises LeftOut
    if a set has fewer than ``size`` rows.
    """
    if size < 2 or (fewest := min(len(a), len(b))) < size:
        need = "subsets of 2 images or more"
        if size >= 2:
            need = f"{size} images of each set, but one set has {counted(fewest, 'image')}"
        raise LeftOut(f"a kernel distance needs {need}: give more images")
    # Other tools draw their subsets with this legacy generator, so figures stay comparable.
    random = np.random.RandomState(seed)
    values = []
    for _ in range(subsets):
        x, y = (
            rows[torch.from_numpy(random.choice(len(rows), size, replace=False))].double()
            for rows in (a, b)
        )
        values.append(_squared(x, y))
    return float(np.mean(values)), float(np.std(values))


def polynomial_kernel(a: Tensor, b: Tensor) -> Tensor:
    """Return ``k(x, y) = (x . y / D + 1)^3`` for each row of ``a`` (N, D) and of ``b`` (M, D).

    The result is (N, M). It is the kernel of the KID (Binkowski et al. 2018, arXiv 1801.01401).
    """
    return (a @ b.T / a.shape[1] + 1) ** 3


def _squared(x: Tensor, y: Tensor) -> float:
    """Return the squared maximum mean discrepancy of two subsets (m, D) of equal size."""
    m = len(x)
    xx, yy, xy = (polynomial_kernel(*pair) for pair in ((x, x), (y, y), (x, y)))
    within = (xx.sum() - xx.trace() + yy.sum() - yy.trace()) / (m * (m - 1))
    return float(within - 2 * xy.mean())
