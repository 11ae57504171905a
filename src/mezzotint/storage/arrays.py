"""Images as they lie on the disk, (N, H, W, C), and as networks take them, (N, C, H, W)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def nchw(images: npt.NDArray[Any] | Tensor) -> Tensor:
    """Turn images (N, H, W, C) into a contiguous tensor (N, C, H, W) of the same type.

    An array is copied off the disk, so that a tensor never maps a file; a tensor stays on its
    device.
    """
    rows = images if isinstance(images, Tensor) else torch.from_numpy(np.array(images))
    return rows.permute(0, 3, 1, 2).contiguous()


def nhwc(images: Tensor) -> npt.NDArray[Any]:
    """Turn images (N, C, H, W) into an array (N, H, W, C) of the same type."""
    return images.permute(0, 2, 3, 1).cpu().numpy()
