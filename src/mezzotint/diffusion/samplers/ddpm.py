"""DDPM: ancestral sampling."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from mezzotint.diffusion.level import Level
from mezzotint.diffusion.prediction import Denoiser
from mezzotint.diffusion.samplers.step import Noise, step, tau
from mezzotint.errors import Registry

VARIANCES: Registry[float] = Registry("variance", {"small": 0.0, "large": 1.0})
"""The exponent v of each fixed variance in `ddpm`. A network can learn a v between 0 and 1."""


def ddpm(
    denoise: Denoiser,
    x: Tensor,
    grid: list[Level],
    variance: str | Callable[[Tensor, Level], Tensor] = "small",
    randn: Noise = torch.randn_like,
) -> Tensor:
    """Sample by DDPM (Ho et al. 2020, arXiv 2006.11239, algorithm 2).

    The step from level t to level s is ``x_s = alpha_s * x0_hat + c * eps_hat + n * z`` with new
    noise z, ``c = sigma_s * sqrt(1 - tau)``, ``n = sigma_s^(1 - v) * sigma_t^v * sqrt(tau)`` and
    ``tau = 1 - (alpha_t sigma_s / (alpha_s sigma_t))^2``. The last step adds no noise.

    Args:
        denoise: The denoiser, ``denoise(x, level) -> x0_hat``.
        x: A batch at the level ``grid[0]``, (B, ...).
        grid: The levels to visit, from noisy to clean. The result is a batch at ``grid[-1]``.
        variance: "small" is v = 0, the variance of the posterior, which is exact if the data is a
            single point. "large" is v = 1, the variance beta, which is exact for standard normal
            data. A function ``variance(x, level) -> v`` is called after the denoiser, at the same x
            and level (Nichol and Dhariwal 2021, arXiv 2102.09672, eq. 15).
        randn: ``randn(x) -> z``, the source of standard normal noise.

    Raises:
        UserError: If the variance is unknown.
    """
    fixed = 0.0 if callable(variance) else VARIANCES[variance]
    for t, s in pairwise(grid):
        x0, k = denoise(x, t), tau(t, s)
        v = variance(x, t) if callable(variance) else fixed
        n = s.sigma * (t.sigma / s.sigma) ** v * math.sqrt(k) if s.sigma else 0.0
        x = step(x, x0, t, s, s.sigma * math.sqrt(1 - k), n, randn)
    return x
