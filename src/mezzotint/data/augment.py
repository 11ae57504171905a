"""Augmentation of whole batches, on the device where they lie."""

import torch
from torch import Tensor


def flip(images: Tensor, mask: Tensor) -> Tensor:
    """Mirror left and right the images (B, C, H, W) of a batch whose mask (B,), bool, is set."""
    return torch.where(mask[:, None, None, None], images.flip(-1), images)
