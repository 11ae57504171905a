"""Heun's method: second order, with two denoiser calls per step."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor

from mezzotint.diffusion.level import Level
from mezzotint.diffusion.prediction import Denoiser
from mezzotint.diffusion.samplers.step import eps, step

PURE = 0.005  # below this alpha (the end of a cosine schedule), x is almost pure noise


def heun(denoise: Denoiser, x: Tensor, grid: list[Level]) -> Tensor:
    """Sample by Heun's method (Karras et al. 2022, arXiv 2206.00364, algorithm 1).

    The flow is ``d(x / alpha) / d(sigma / alpha) = eps_hat``. Each step uses the mean of the
    eps_hat at its two ends. The step to the clean level is a DDIM step, because eps_hat is not
    defined there. A step from a level with alpha below PURE is also a DDIM step, so sampling from
    the end of a cosine schedule takes one call fewer than `Sampler.cost` says. Returns x at
    ``grid[-1]``.
    """
    for t, s in pairwise(grid):
        x = heun_step(denoise, x, t, s)
    return x


def heun_step(denoise: Denoiser, x: Tensor, t: Level, s: Level) -> Tensor:
    """Return x at the level s, by one step of Heun's method from x at the level t.

    A DDIM step gives eps_hat at s. Then a second step from t uses the mean of eps_hat at t and s.
    """
    x0 = denoise(x, t)
    there = step(x, x0, t, s)
    if not s.sigma or t.alpha < PURE:
        return there
    mean = (eps(x, x0, t) + eps(there, denoise(there, s), s)) / 2
    return step(x, (x - t.sigma * mean) / t.alpha, t, s)
