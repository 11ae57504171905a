"""Noise that depends only on the seed and the index of the image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mezzotint.devices import sent
from mezzotint.diffusion.samplers.step import Noise


def noise(seed: int, images: Sequence[int]) -> Noise:
    """Make a function ``randn(x)`` whose noise for image i depends only on (seed, i).

    ``images`` are the indices of the images in the batch x. The noise comes from numpy's
    generators, whatever the device of x. So it is the same on every machine, and the seed may
    exceed the 32 bits that torch's CPU generator uses.
    """
    # The seed is given as two numbers of 32 bits, because numpy would merge a longer seed with i.
    low, high = seed % 2**32, seed >> 32
    generators = [np.random.default_rng((low, i, high)) for i in images]

    def randn(x: Tensor) -> Tensor:
        rows = [g.standard_normal(x.shape[1:], dtype=np.float32) for g in generators]
        return sent(torch.from_numpy(np.stack(rows)), x.device).to(x.dtype)

    return randn
