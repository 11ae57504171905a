"""EDM's stochastic sampler: Heun's method with churn."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from mezzotint.diffusion.level import Level
from mezzotint.diffusion.prediction import Denoiser
from mezzotint.diffusion.samplers.heun import heun_step
from mezzotint.diffusion.samplers.step import Noise
from mezzotint.errors import UserError


def edm(
    denoise: Denoiser,
    x: Tensor,
    grid: list[Level],
    churn: float = 30.0,
    low: float = 0.01,
    high: float = 1.0,
    inflate: float = 1.007,
    randn: Noise = torch.randn_like,
) -> Tensor:
    """Sample by EDM's stochastic sampler (Karras et al. 2022, arXiv 2206.00364, algorithm 2).

    If ``sigma / alpha`` is between ``low`` and ``high``, noise is added before the step. This noise
    raises ``sigma / alpha`` by the factor ``1 + gamma``, where ``gamma = min(churn / N, sqrt(2) -
    1)`` for N steps. No level is raised above ``grid[0]``. The defaults are for CIFAR-10.

    Args:
        denoise: The denoiser, ``denoise(x, level) -> x0_hat``.
        x: A batch at the level ``grid[0]``, (B, ...).
        grid: The levels to visit, from noisy to clean. The result is a batch at ``grid[-1]``.
        churn: The amount of added noise, 0 or more; 0 is `heun`.
        low: The least sigma / alpha at which noise is added.
        high: The greatest sigma / alpha at which noise is added.
        inflate: The factor on the standard deviation of the added noise.
        randn: ``randn(x) -> z``, the source of standard normal noise.

    Raises:
        UserError: If churn is below 0, low above high, or inflate not above 0.
    """
    if not (churn >= 0 and low <= high and inflate > 0):
        said = f"`churn` is {churn:g}, `low` {low:g}, `high` {high:g} and `inflate` {inflate:g}"
        raise UserError(f"{said}: choose 0 <= `churn`, `low` <= `high` and 0 < `inflate`")
    gamma = min(churn / (len(grid) - 1), math.sqrt(2) - 1)
    for t, s in pairwise(grid):
        if gamma and low * t.alpha <= t.sigma <= high * t.alpha:
            up = between(grid, math.atan((1 + gamma) * t.sigma / t.alpha))
            scale = up.alpha / t.alpha
            spread = math.sqrt(max(up.sigma**2 - (scale * t.sigma) ** 2, 0.0))
            x, t = scale * x + inflate * spread * randn(x), up
        x = heun_step(denoise, x, t, s)
    return x


def between(grid: list[Level], angle: float) -> Level:
    """Return the level at ``atan2(sigma, alpha) = angle``, with t interpolated in the grid.

    In most grids of ten steps, the error of t is at most about 20 of 1000 timesteps.
    """
    angles = [math.atan2(level.sigma, level.alpha) for level in reversed(grid)]
    angle = min(angle, angles[-1])
    t = np.interp(angle, angles, [level.t for level in reversed(grid)])
    return Level(float(t), math.cos(angle), math.sin(angle))
