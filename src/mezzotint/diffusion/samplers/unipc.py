"""UniPC: the denoiser call of the next step also corrects the current step."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

from torch import Tensor

from mezzotint.diffusion.level import Level
from mezzotint.diffusion.prediction import Denoiser
from mezzotint.diffusion.samplers.step import mean, moments, order_at, step
from mezzotint.errors import Registry, UserError

CORRECTORS: Registry[Callable[[float], float]] = Registry(
    "corrector", {"bh1": lambda h: -0.5 * h / math.expm1(-h), "bh2": lambda h: 0.5}
)
"""Functions of the length h of a step in lambda. They return a fraction of the step, from 0 to 1.

`unipc` replaces the mean of a line by the value of the line at this fraction of the step.
"""


def unipc(
    denoise: Denoiser, x: Tensor, grid: list[Level], order: int = 2, corrector: str = "bh2"
) -> Tensor:
    """Sample by UniPC (Zhao et al. 2023, arXiv 2302.04867).

    A polynomial in ``lambda = ln(alpha / sigma)`` passes through the last ``order`` estimates, or
    fewer (see `order_at`). Each step is DDIM's, but x0_hat is the polynomial's weighted mean over
    the step (see `moments`). When the estimate at the end of the step is known, the step is
    repeated with a polynomial that also passes through it, which raises the order by one. The last
    step and steps from alpha = 0 are not repeated. If a polynomial is a line, its mean is replaced,
    as in the authors' code, by its value at the fraction ``B / (2 (1 - exp(-h)))`` of the step.
    Here h is the length of the step in lambda, and B follows from ``corrector``.

    Args:
        denoise: The denoiser, ``denoise(x, level) -> x0_hat``.
        x: A batch at the level ``grid[0]``, (B, ...).
        grid: The levels to visit, from noisy to clean. The result is a batch at ``grid[-1]``.
        order: The largest number of estimates for the first polynomial of a step: 1, 2 or 3.
        corrector: "bh1" is ``B = h``, "bh2" is ``B = 1 - exp(-h)``.

    Raises:
        UserError: If the order is not 1, 2 or 3, or the corrector is unknown.
    """
    if order not in (1, 2, 3):
        raise UserError(f"`order` is {order!r}: choose 1, 2 or 3 for unipc")
    middle = CORRECTORS[corrector]

    def through(t: Level, s: Level, points: list[tuple[float, Tensor]]) -> Tensor:
        h = s.lam - t.lam
        powers = [1.0, middle(h)] if len(points) == 2 else moments(h, len(points))
        return mean(points, t.lam, h, powers)

    past: list[tuple[float, Tensor]] = []  # lambda and x0_hat, the newest first
    start = x  # x at the beginning of the step that led to the current level
    p = 0  # the number of estimates that the polynomial of that step passed through
    for i, (t, s) in enumerate(pairwise(grid)):
        now = (t.lam, denoise(x, t))
        if i and grid[i - 1].alpha:
            x = step(start, through(grid[i - 1], t, [now, *past[:p]]), grid[i - 1], t)
        past, start, p = [now, *past[: order - 1]], x, order_at(grid, i, order)
        x = step(x, through(t, s, past[:p]) if p > 1 else now[1], t, s)
    return x
