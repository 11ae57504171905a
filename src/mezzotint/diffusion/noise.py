"""Noise that depends on the seed and the image's number alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mezzotint.diffusion.samplers.step import Noise


def noise(seed: int, pictures: Sequence[int]) -> Noise:
    """``randn(x)`` whose row for picture i is drawn from a generator of (seed, i) alone.

    numpy's generators, whatever x's device: every machine starts from the same noise, and the seed
    is not cut to the 32 bits that torch's generator takes on a CPU.
    """
    low, high = seed % 2**32, seed >> 32  # apart: numpy would run them and i together
    generators = [np.random.default_rng((low, i, high)) for i in pictures]

    def randn(x: Tensor) -> Tensor:
        rows = [g.standard_normal(x.shape[1:], dtype=np.float32) for g in generators]
        return torch.from_numpy(np.stack(rows)).to(x)

    return randn
