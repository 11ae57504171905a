"""Pad images so that a network can halve their sides, and crop the network's output."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def padded(x: Tensor, factor: int) -> Tensor:
    """Pad images (B, C, H, W) on the right and at the bottom until ``factor`` divides H and W.

    The padding is zero, like the padding of convolutions at an edge. If ``factor`` divides H and W
    already, x is returned unchanged. `cut` removes the padding from a network's output, so the
    padding does not affect a loss.
    """
    height, width = x.shape[2:]
    right, below = -width % factor, -height % factor
    return F.pad(x, (0, right, 0, below)) if right or below else x


def cut(y: Tensor, x: Tensor) -> Tensor:
    """Crop y, which a network computed from ``padded(x)``, to the height and width of x."""
    height, width = x.shape[2:]
    return y if y.shape[2:] == x.shape[2:] else y[..., :height, :width]
