"""The update that every sampler makes, and helpers of the methods of higher order."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from torch import Tensor

from mezzotint.diffusion.level import Level, Number
from mezzotint.errors import UserError

Noise: TypeAlias = Callable[[Tensor], Tensor]
"""``randn(x) -> z``: standard normal noise in the shape of x."""


def tau(t: Level, s: Level) -> float:
    """Return ``1 - (alpha_t sigma_s / (alpha_s sigma_t))^2``; sigma_t^2 tau is the step's beta."""
    return 1 - (t.alpha * s.sigma / (s.alpha * t.sigma)) ** 2


def eps(x: Tensor, x0: Tensor, t: Level[Number]) -> Tensor:
    """Return the noise in x at level t, given the clean image: ``(x - alpha_t x0) / sigma_t``."""
    return (x - t.alpha * x0) / t.sigma


def step(
    x: Tensor,
    x0: Tensor,
    t: Level[Number],
    s: Level[Number],
    c: float | Tensor | None = None,
    n: float | Tensor = 0.0,
    randn: Noise | None = None,
) -> Tensor:
    """Return x at a cleaner level s, from x at level t and the estimate x0 of the clean image.

    ``x_s = alpha_s * x0 + c * eps_hat + n * z`` with ``eps_hat = (x - alpha_t * x0) / sigma_t`` and
    ``z ~ N(0, I)``, which is drawn only if n is not 0. If c and n are not given, c is sigma_s and n
    is 0: this is DDIM's deterministic step, which is exact if the estimate x0 stays constant.
    """
    moved = s.alpha * x0 + (s.sigma if c is None else c) * eps(x, x0, t)
    return moved + n * randn(x) if randn and (isinstance(n, Tensor) or n) else moved


def split(t: Level, s: Level, eta: float) -> tuple[float, float]:
    """Return the factors (c, n) of the old and of the new noise in DDIM's step from t to s.

    ``n = eta * sigma_s * sqrt(tau)``, ``c = sqrt(sigma_s^2 - n^2)``, with tau from `tau` (Song
    et al. 2020, arXiv 2010.02502, eqs. 12 and 16). Raises UserError for eta outside [0, 1].
    """
    if not 0 <= eta <= 1:
        raise UserError(f"`eta` is {eta:g}: choose 0 (deterministic) to 1 (as in DDPM)")
    n = eta * s.sigma * math.sqrt(tau(t, s))
    return math.sqrt(s.sigma**2 - n**2), n


def moments(h: float, count: int) -> list[float]:
    """Return the means of theta^k, for k < count, under a density proportional to exp(h theta).

    A step has the length h in ``lambda = ln(alpha / sigma)``, and theta is the place within the
    step, from 0 to 1. DDIM's step is exact if x0_hat is replaced by its mean under this density
    (docs/maths.md). By parts, the mean of theta^k is ``m_k = 1 / (1 - exp(-h)) - k / h * m_{k-1}``.
    """
    m = [1.0]
    for k in range(1, count):
        m.append(-1 / math.expm1(-h) - k / h * m[-1])
    return m


def mean(
    points: Sequence[tuple[float, Tensor]], lam: float, h: float, moments: Sequence[float]
) -> Tensor:
    """Return the mean, over a step, of the polynomial that passes through ``points``.

    A point is a lambda and a value. The step begins at ``lam`` and has the length h in lambda.
    ``moments`` are the means of theta^0, theta^1 ..., where theta is the place within the step,
    from 0 to 1 (see the function `moments`).
    """
    nodes = [(place - lam) / h for place, _ in points]  # values of theta
    weights = np.linalg.solve(np.vander(nodes, increasing=True).T, moments)
    values = [value for _, value in points]
    return sum((w * v for w, v in zip(weights.tolist(), values, strict=True)), 0 * values[0])


def order_at(grid: Sequence[Level], i: int, order: int) -> int:
    """Return the number of estimates x0_hat that the step from ``grid[i]`` may use.

    The number includes the newest estimate, so it is at least 1. It is at most ``order``, at most
    the number of levels up to ``grid[i]`` at which lambda is finite and, if the grid ends at the
    clean level, at most the number of remaining steps.
    """
    left = order if grid[-1].sigma else len(grid) - 1 - i
    return max(1, min(order, left, i + (grid[0].alpha > 0)))
