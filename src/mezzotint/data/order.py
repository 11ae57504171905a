"""The order in which a training reads the images; it depends on the seed alone."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]


def rows(seed: int, start: int, count: int, n: int) -> Rows:
    """Return the data rows of the training samples `start` to `start + count - 1`.

    Epoch e consists of the samples e*n to (e+1)*n - 1. They are all n rows, in a random order that
    depends on (seed, e) alone. So the rows do not depend on the batch size, and a resumed run
    continues exactly where it stopped. A batch may contain samples of two epochs.

    Args:
        seed: the seed, 0 or more.
        start: the number of the first sample, counted from 0 at the start of the training.
        count: the number of samples.
        n: the number of rows in the data set, at least 1.

    Returns:
        int64 (count,), each in 0 .. n-1.
    """
    end = start + count
    epochs = range(start // n, -(-end // n))
    parts = [
        _permutation(seed, epoch, n)[max(start - epoch * n, 0) : end - epoch * n]
        for epoch in epochs
    ]
    return np.concatenate([np.empty(0, np.int64), *parts])


# Two permutations, because a batch may span two epochs. Each takes megabytes for large data.
@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, n: int) -> Rows:
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, epoch))))
    return generator.permutation(n)
