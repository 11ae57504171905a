"""DEIS: a multistep method on the noise estimate."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor

from mezzotint.diffusion.level import Level
from mezzotint.diffusion.prediction import Denoiser
from mezzotint.diffusion.samplers.step import eps, mean, moments, order_at, step
from mezzotint.errors import UserError


def deis(denoise: Denoiser, x: Tensor, grid: list[Level], order: int = 3) -> Tensor:
    """Sample by tAB-DEIS (Zhang and Chen 2022, arXiv 2204.13902), with lambda as the time.

    The step from t to s is ``x_s / alpha_s = x_t / alpha_t + (sigma_s / alpha_s - sigma_t /
    alpha_t) * e``. This is DDIM's step with e in place of eps_hat. A polynomial in ``lambda =
    ln(alpha / sigma)`` passes through the last ``order`` values of eps_hat, or fewer (see
    `order_at`). e is the mean of this polynomial over sigma / alpha from t to s.

    Args:
        denoise: The denoiser, ``denoise(x, level) -> x0_hat``.
        x: A batch at the level ``grid[0]``, (B, ...).
        grid: The levels to visit, from noisy to clean. The result is a batch at ``grid[-1]``.
        order: The number of values of eps_hat that the polynomial passes through: 1, 2 or 3.

    Raises:
        UserError: If the order is not 1, 2 or 3.
    """
    if order not in (1, 2, 3):
        raise UserError(f"`order` is {order!r}: choose 1, 2 or 3 for deis")
    past: list[tuple[float, Tensor]] = []  # lambda and eps_hat, the newest first
    for i, (t, s) in enumerate(pairwise(grid)):
        x0, p = denoise(x, t), order_at(grid, i, order)
        past = [(t.lam, eps(x, x0, t)), *past[: order - 1]]
        if p > 1:
            h = s.lam - t.lam
            noise = mean(past[:p], t.lam, h, moments(-h, p))
            x0 = (x - t.sigma * noise) / t.alpha
        x = step(x, x0, t, s)
    return x
