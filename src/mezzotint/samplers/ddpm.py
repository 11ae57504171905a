"""DDPM: ancestral sampling."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from mezzotint.errors import UserError
from mezzotint.noise import Level
from mezzotint.predict import Denoiser
from mezzotint.samplers.step import Noise, step, tau


def ddpm(
    denoise: Denoiser,
    x: Tensor,
    grid: list[Level],
    variance: str = "small",
    randn: Noise = torch.randn_like,
) -> Tensor:
    """Ho et al. 2020, arXiv 2006.11239, algorithm 2: x at ``grid[0]`` to x at ``grid[-1]``.

    ``c = sigma_s * sqrt(1 - tau)``, and ``n = sqrt(tau)`` times sigma_s (variance "small", the
    posterior's, which is right if the data were one point) or sigma_t ("large", beta, which is
    right if the data were Gaussian). The last step adds no noise. Raises UserError for other names.
    """
    if variance not in ("small", "large"):
        raise UserError(f"unknown variance {variance!r}: choose small or large")
    for t, s in pairwise(grid):
        k = tau(t, s)
        spread = t.sigma if variance == "large" and s.sigma else s.sigma
        n = spread * math.sqrt(k)
        x = step(x, denoise(x, t), t, s, s.sigma * math.sqrt(1 - k), n, randn)
    return x
