"""The order in which a training reads the images; it depends on the seed alone."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]


def rows(seed: int, start: int, count: int, n: int) -> Rows:
    """Return the indices of `count` images in the order of a training, from position `start` on.

    Epoch e consists of the positions e*n to (e+1)*n - 1. It reads each of the n images once, in a
    random order that depends on (seed, e) alone. So the order does not depend on the batch size,
    and a resumed run continues exactly where it stopped. A batch may span two epochs.

    Args:
        seed: the seed, 0 or more.
        start: the first position, counted from 0 at the start of the training.
        count: the number of positions.
        n: the number of images in the data set, at least 1.

    Returns:
        The indices of the images, int64 (count,), each in 0 .. n-1.
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
