"""Heun's method: second order at two denoiser calls a step."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor

from mezzotint.diffusion.level import Level
from mezzotint.diffusion.prediction import Denoiser
from mezzotint.diffusion.samplers.step import eps, step

PURE = 0.005  # alpha of noise beyond any that EDM walks, such as a cosine schedule's last rows


def heun(denoise: Denoiser, x: Tensor, grid: list[Level]) -> Tensor:
    """Karras et al. 2022, arXiv 2206.00364, algorithm 1: x at ``grid[0]`` to x at ``grid[-1]``.

    In their sigma, ``sigma / alpha``, the flow is ``d(x / alpha) / d(sigma / alpha) = eps_hat``:
    each step takes the mean of eps_hat at both its ends. A step to the clean level, where there is
    none, is DDIM's, and so is one from where sigma / alpha is as good as infinite.
    """
    for t, s in pairwise(grid):
        x = heun_step(denoise, x, t, s)
    return x


def heun_step(denoise: Denoiser, x: Tensor, t: Level, s: Level) -> Tensor:
    """One step: there by DDIM, and again with the mean of the eps_hat here and there."""
    x0 = denoise(x, t)
    there = step(x, x0, t, s)
    if not s.sigma or t.alpha < PURE:
        return there
    mean = (eps(x, x0, t) + eps(there, denoise(there, s), s)) / 2
    return step(x, (x - t.sigma * mean) / t.alpha, t, s)
