"""The multistep sampler of few-step models."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from mezzotint.diffusion.level import Level
from mezzotint.diffusion.prediction import Denoiser
from mezzotint.diffusion.samplers.step import Noise, step
from mezzotint.errors import UserError


def consistency(
    denoise: Denoiser,
    x: Tensor,
    grid: list[Level],
    eta: float = 1.0,
    randn: Noise = torch.randn_like,
) -> Tensor:
    """Sample from a few-step model (Song et al. 2023, arXiv 2303.01469, algorithm 1).

    The denoiser is a consistency function: it returns the end x0 of the probability flow, not the
    mean of x0. The step from level t to level s is ``x_s = alpha_s * x0 + c * eps_hat + n * z``,
    with ``eps_hat = (x_t - alpha_t * x0) / sigma_t``, new noise z, ``n = eta * sigma_s`` and ``c =
    sigma_s * sqrt(1 - eta^2)``. With eta 1 all noise is new, so an exact consistency function gives
    exact samples in any number of calls. With eta 0 the step is DDIM's; some models expect this.

    Args:
        denoise: The consistency function, ``denoise(x, level) -> x0``.
        x: A batch at the level ``grid[0]``, (B, ...).
        grid: The levels from noisy (x) to clean (the result); the spacing `angle` suits few steps.
        eta: In [0, 1]: 0 is deterministic; 1 replaces all noise with new noise in each step.
        randn: ``randn(x) -> z``, the source of standard normal noise.

    Raises:
        UserError: If eta is outside [0, 1].
    """
    if not 0 <= eta <= 1:
        raise UserError(f"`eta` is {eta:g}: choose 0 (deterministic) to 1 (new noise)")
    for t, s in pairwise(grid):
        c, n = s.sigma * math.sqrt(1 - eta**2), s.sigma * eta
        x = step(x, denoise(x, t), t, s, c, n, randn)
    return x
