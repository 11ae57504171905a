"""Training images for the doctor's checks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mezzotint.data import Prepared
from mezzotint.storage.arrays import nchw

DENOISED, COMPARED = 128, 1_000
"""The number of images that are denoised or encoded, and the number compared with samples."""


def some(data: Prepared, count: int) -> tuple[Tensor, Tensor]:
    """Return up to ``count`` images of a data set, (n, C, H, W), and their labels (n,)."""
    picked = data.some(count)
    return nchw(picked.images), torch.from_numpy(np.array(picked.labels))
