"""Images to what the diffusion runs on, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mezzotint.errors import UserError


@dataclass(frozen=True)
class Pixels:
    """The diffusion runs on the pixels themselves: uint8 0..255 <-> float32 [-1, 1]."""

    def encode(self, images: Tensor) -> Tensor:
        """``images / 127.5 - 1``, uint8 (B, C, H, W) to float32; UserError for any other type."""
        if images.dtype != torch.uint8:
            raise UserError(f"images must be uint8, 0 to 255, not {images.dtype}")
        return images.float() / 127.5 - 1

    def decode(self, x: Tensor) -> Tensor:
        """``round(127.5 * (x + 1))``, cut to 0..255: the inverse of encode on what encode gives."""
        return (127.5 * (x.float() + 1)).round().clamp(0, 255).to(torch.uint8)


def channel_statistics(images: np.ndarray) -> dict[str, list[float]]:
    """Mean and standard deviation of each channel of uint8 (N, H, W, C), in grey levels."""
    counts = [np.bincount(images[..., c].ravel(), minlength=256) for c in range(images.shape[-1])]
    grey = np.arange(256)
    means = [float(np.average(grey, weights=n)) for n in counts]
    spreads = [
        float(np.average((grey - mean) ** 2, weights=n)) ** 0.5
        for mean, n in zip(means, counts, strict=True)
    ]
    return {"mean": [round(m, 2) for m in means], "std": [round(s, 2) for s in spreads]}
