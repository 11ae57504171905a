"""UniPC: each step corrected by the denoiser call that the next one needs anyway."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor

from mezzotint.diffusion.level import Level
from mezzotint.diffusion.prediction import Denoiser
from mezzotint.diffusion.samplers.step import mean, moments, order_at, step
from mezzotint.errors import UserError


def unipc(
    denoise: Denoiser, x: Tensor, grid: list[Level], order: int = 2, corrector: str = "bh2"
) -> Tensor:
    """Zhao et al. 2023, arXiv 2302.04867: x at ``grid[0]`` to x at ``grid[-1]``.

    DDIM's step with the mean of the polynomial in lambda through the last ``order`` x0_hat; once
    x0_hat at its end is known the step is made again through that too, which adds one to the
    order. Through two points the paper takes ``B / (2 (1 - exp(-h)))`` for where the mean lies:
    ``B = h`` for the corrector "bh1", ``1 - exp(-h)`` for "bh2". Raises UserError for other names,
    and for orders other than 1, 2 and 3.
    """
    if corrector not in ("bh1", "bh2") or order not in (1, 2, 3):
        raise UserError(
            f"unipc of order {order!r} with {corrector!r}: choose 1, 2 or 3, and bh1 or bh2"
        )

    def through(t: Level, s: Level, points: list[tuple[float, Tensor]]) -> Tensor:
        h = s.lam - t.lam
        middle = 0.5 if corrector == "bh2" else -0.5 * h / math.expm1(-h)
        wanted = [1.0, middle] if len(points) == 2 else moments(h, len(points))
        nodes = [(lam - t.lam) / h for lam, _ in points]
        return mean([value for _, value in points], nodes, wanted)

    past: list[tuple[float, Tensor]] = []  # lambda and x0_hat, the newest first
    start = x  # where the step that led here began
    p = 0  # and through how many points
    for i, (t, s) in enumerate(pairwise(grid)):
        now = (t.lam, denoise(x, t))
        if i and grid[i - 1].alpha:
            x = step(start, through(grid[i - 1], t, [now, *past[:p]]), grid[i - 1], t)
        past, start, p = [now, *past[: order - 1]], x, order_at(grid, i, order)
        x = step(x, through(t, s, past[:p]) if p > 1 else now[1], t, s)
    return x
