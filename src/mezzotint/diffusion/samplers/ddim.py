"""DDIM: from deterministic (eta 0) to ancestral (eta 1) sampling."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from mezzotint.diffusion.level import Level
from mezzotint.diffusion.prediction import Denoiser
from mezzotint.diffusion.samplers.step import Noise, split, step


def ddim(
    denoise: Denoiser,
    x: Tensor,
    grid: list[Level],
    eta: float = 0.0,
    randn: Noise = torch.randn_like,
) -> Tensor:
    """Sample by DDIM (Song et al. 2020, arXiv 2010.02502, eqs. 12 and 16).

    The step from level t to level s is ``x_s = alpha_s * x0_hat + c * eps_hat + n * z`` with new
    noise z, ``n = eta * sigma_s * sqrt(tau)``, ``c = sqrt(sigma_s^2 - n^2)`` and ``tau = 1 -
    (alpha_t sigma_s / (alpha_s sigma_t))^2``. So every eta preserves the marginal distributions.

    Args:
        denoise: The denoiser, ``denoise(x, level) -> x0_hat``.
        x: A batch at the level ``grid[0]``, (B, ...).
        grid: The levels to visit, from noisy to clean. The result is a batch at ``grid[-1]``.
        eta: In [0, 1]: 0 is deterministic, 1 is DDPM with the fixed small variance.
        randn: ``randn(x) -> z``, the source of standard normal noise.

    Raises:
        UserError: If eta is outside [0, 1].
    """
    for t, s in pairwise(grid):
        x = step(x, denoise(x, t), t, s, *split(t, s, eta), randn)
    return x
