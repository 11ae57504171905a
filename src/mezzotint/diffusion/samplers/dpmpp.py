"""DPM-Solver++: a multistep method with one call per step, for the ODE (eta 0) or SDE (eta 1)."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from mezzotint.diffusion.level import Level
from mezzotint.diffusion.prediction import Denoiser
from mezzotint.diffusion.samplers.step import Noise, mean, moments, order_at, split, step


def dpmpp(
    denoise: Denoiser,
    x: Tensor,
    grid: list[Level],
    order: int = 2,
    eta: float = 0.0,
    randn: Noise = torch.randn_like,
) -> Tensor:
    """Sample by DPM-Solver++ (Lu et al. 2022, arXiv 2211.01095, algorithms 1 and 2).

    A polynomial in ``lambda = ln(alpha / sigma)`` passes through the last ``order`` estimates, or
    fewer (see `order_at`). Each step is DDIM(eta)'s, but x0_hat is the polynomial's weighted mean
    over the step (see `moments`). Order 1 is DDIM. Order 2 replaces the mean by the value of the
    polynomial in the middle of the step, as published. Order 3 uses the exact mean (docs/maths.md
    compares it with other methods of order 3).

    Args:
        denoise: The denoiser, ``denoise(x, level) -> x0_hat``.
        x: A batch at the level ``grid[0]``, (B, ...).
        grid: The levels to visit, from noisy to clean. The result is a batch at ``grid[-1]``.
        order: The largest number of estimates x0_hat for the polynomial: 1, 2 or 3.
        eta: In [0, 1]: 0 solves the ODE, 1 the SDE.
        randn: ``randn(x) -> z``, the source of standard normal noise.

    Raises:
        UserError: If eta is outside [0, 1].
    """
    past: list[tuple[float, Tensor]] = []  # lambda and x0_hat, the newest first
    for i, (t, s) in enumerate(pairwise(grid)):
        past = [(t.lam, denoise(x, t)), *past[: order - 1]]
        c, n = split(t, s, eta)
        x0, p = past[0][1], order_at(grid, i, order)
        if p > 1:
            h = s.lam - t.lam
            decay = h - math.log(c / s.sigma)  # the exponent for x itself: h at eta 0, 2 h at eta 1
            powers = [1.0, 0.5] if p == 2 else moments(decay, p)
            x0 = mean(past[:p], t.lam, h, powers)
        x = step(x, x0, t, s, c, n, randn)
    return x
