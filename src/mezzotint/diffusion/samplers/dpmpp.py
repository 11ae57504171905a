"""DPM-Solver++: multistep, one denoiser call a step, as an ODE (eta 0) or an SDE (eta 1)."""

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
    """Lu et al. 2022, arXiv 2211.01095, algorithms 1 and 2: x at ``grid[0]`` to x at ``grid[-1]``.

    DDIM(eta) with the mean over the step of the polynomial in lambda through the last ``order``
    x0_hat in the place of x0_hat. Order 1 is DDIM; order 2 takes the polynomial's middle for its
    mean, as published; order 3 the mean itself (docs/maths.md has what differs from others' 3M).
    """
    past: list[tuple[float, Tensor]] = []  # lambda and x0_hat, the newest first
    for i, (t, s) in enumerate(pairwise(grid)):
        past = [(t.lam, denoise(x, t)), *past[: order - 1]]
        c, n = split(t, s, eta)
        x0, p = past[0][1], order_at(grid, i, order)
        if p > 1:
            h = s.lam - t.lam
            nodes = [(lam - t.lam) / h for lam, _ in past[:p]]
            decay = h - math.log(c / s.sigma)  # of x itself: h at eta 0, 2 h at eta 1
            wanted = [1.0, 0.5] if p == 2 else moments(decay, p)
            x0 = mean([value for _, value in past[:p]], nodes, wanted)
        x = step(x, x0, t, s, c, n, randn)
    return x
