"""Samplers: ``sampler(denoise, x, grid, ..., randn=) -> x``, one short file each.

A sampler walks a grid pair by pair and sees neither network nor schedule.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from mezzotint.samplers.ddim import ddim
from mezzotint.samplers.ddpm import ddpm

SAMPLERS: dict[str, Callable[..., Tensor]] = {"ddpm": ddpm, "ddim": ddim}

__all__ = ["SAMPLERS", "ddim", "ddpm"]
