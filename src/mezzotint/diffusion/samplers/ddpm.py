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
from mezzotint.errors import UserError


def ddpm(
    denoise: Denoiser,
    x: Tensor,
    grid: list[Level],
    variance: str | Callable[[Tensor, Level], Tensor] = "small",
    randn: Noise = torch.randn_like,
) -> Tensor:
    """Ho et al. 2020, arXiv 2006.11239, algorithm 2: x at ``grid[0]`` to x at ``grid[-1]``.

    ``c = sigma_s * sqrt(1 - tau)`` and ``n = sigma_s^(1 - v) * sigma_t^v * sqrt(tau)``: v is 0 for
    variance "small" (the posterior's, right if the data were one point), 1 for "large" (beta, right
    if the data were Gaussian), and learned where ``variance(x, level)`` gives it, right after the
    denoiser was called there (Nichol and Dhariwal 2021, arXiv 2102.09672, eq. 15). The last step
    adds no noise. Raises UserError for other names.
    """
    fixed = {"small": 0.0, "large": 1.0}
    if isinstance(variance, str) and variance not in fixed:
        raise UserError(
            f"unknown variance {variance!r}: choose small or large (or learned, where it is)"
        )
    for t, s in pairwise(grid):
        x0, k = denoise(x, t), tau(t, s)
        v = fixed[variance] if isinstance(variance, str) else variance(x, t)
        n = s.sigma * (t.sigma / s.sigma) ** v * math.sqrt(k) if s.sigma else 0.0
        x = step(x, x0, t, s, s.sigma * math.sqrt(1 - k), n, randn)
    return x
