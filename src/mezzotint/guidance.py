"""Guidance: wrappers of a denoiser that return a denoiser.

Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598) extrapolates from what the network
says without labels to what it says with them,

    x0_hat = x0_u + scale * (x0_c - x0_u)

Scale 1 is plain conditional, 0 unconditional; the paper's w is scale - 1. The weights sum to 1 and
every prediction type is affine in x0_hat, so guiding eps, v or flow instead gives the same.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mezzotint.noise import Level
from mezzotint.predict import Denoiser


def guide(cond: Denoiser, uncond: Denoiser, scale: float) -> Denoiser:
    """Guide one denoiser away from another, each called on its own."""
    if scale == 1:
        return cond
    if scale == 0:
        return uncond
    return lambda x, level: _extrapolate(cond(x, level), uncond(x, level), scale)


def guide_pair(pair: Denoiser, scale: float) -> Denoiser:
    """The same in one call a step: ``pair`` takes a doubled batch, first half conditional."""

    def denoise(x: Tensor, level: Level) -> Tensor:
        cond, uncond = pair(torch.cat([x, x]), level).chunk(2)
        return _extrapolate(cond, uncond, scale)

    return denoise


def _extrapolate(cond: Tensor, uncond: Tensor, scale: float) -> Tensor:
    return uncond + scale * (cond - uncond)


def clip(denoise: Denoiser) -> Denoiser:
    """Clamp x0_hat to [-1, 1], where pixels live: outermost, so after guidance."""
    return lambda x, level: denoise(x, level).clamp(-1, 1)
