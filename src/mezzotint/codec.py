"""Images to what the diffusion runs on, and back."""

from __future__ import annotations

from dataclasses import dataclass

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
