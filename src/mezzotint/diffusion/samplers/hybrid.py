"""A sampler whose first steps are stochastic and whose later steps are deterministic."""

from __future__ import annotations

import torch
from torch import Tensor

from mezzotint.diffusion.level import Level
from mezzotint.diffusion.prediction import Denoiser
from mezzotint.diffusion.samplers.ddim import ddim
from mezzotint.diffusion.samplers.dpmpp import dpmpp
from mezzotint.diffusion.samplers.step import Noise
from mezzotint.errors import UserError


def hybrid(
    denoise: Denoiser,
    x: Tensor,
    grid: list[Level],
    switch: float = 0.5,
    eta: float = 1.0,
    randn: Noise = torch.randn_like,
) -> Tensor:
    """Sample by DDIM(eta) first, then by DPM-Solver++(2M).

    New noise corrects errors of earlier steps. Near the clean end, new noise would cost the most
    accuracy, so the steps there add none. The paper (arXiv 2412.14422) leaves such a sampler as
    future work.

    Args:
        denoise: The denoiser, ``denoise(x, level) -> x0_hat``.
        x: A batch at the level ``grid[0]``, (B, ...).
        grid: The levels to visit, from noisy to clean. The result is a batch at ``grid[-1]``.
        switch: In [0, 1]: the share of the steps, from the first step on, that DDIM makes.
        eta: The eta of DDIM, in [0, 1].
        randn: ``randn(x) -> z``, the source of standard normal noise.

    Raises:
        UserError: If switch or eta is outside [0, 1].
    """
    if not 0 <= switch <= 1:
        raise UserError(f"`switch` is {switch:g}: choose 0 to 1, the share of stochastic steps")
    at = round(switch * (len(grid) - 1))
    return dpmpp(denoise, ddim(denoise, x, grid[: at + 1], eta, randn), grid[at:])
