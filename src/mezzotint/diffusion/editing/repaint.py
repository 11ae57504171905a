"""RePaint: fill in the masked part of images.

After each denoising step, the known part is replaced by the given images, noised to the level that
the step has reached.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mezzotint.diffusion.level import Level
from mezzotint.diffusion.prediction import Denoiser
from mezzotint.diffusion.samplers.step import Noise, split, step
from mezzotint.errors import UserError

JUMP, REPEATS = 5, 5  # the number of levels that are repeated together, and how often


def repaint(
    denoise: Denoiser,
    x: Tensor,
    grid: Sequence[Level],
    y: Tensor,
    known: Tensor,
    *,
    jump: int = JUMP,
    repeats: int = REPEATS,
    randn: Noise = torch.randn_like,
) -> Tensor:
    """Sample as DDPM does, but replace the known part at each level by y, noised to that level.

    The known part does not depend on the filled-in part. To make the two parts agree, the levels
    are repeated in groups of ``jump`` levels: the image is made noisy again and denoised again, so
    that each group but the last is denoised ``repeats`` times (Lugmayr et al. 2022, arXiv
    2201.09865, algorithm 1).

    Args:
        denoise: ``denoise(x, level) -> x0_hat``.
        x: Standard normal noise, (B, C, H, W).
        grid: Levels of falling noise; the last level is clean.
        y: Images, (B, C, H, W); only their known part is used.
        known: 1 where y is known, 0 where it is to be filled in; it broadcasts against y.
        jump: The number of levels that are repeated together.
        repeats: The number of times that each group is denoised; the last group is denoised once.
        randn: The source of noise.

    Returns:
        Images at the clean level.

    Raises:
        UserError: If jump or repeats is below 1.
    """
    if jump < 1 or repeats < 1:
        raise UserError(f"`jump` is {jump} and `repeats` {repeats}: choose 1 or more for both")
    with torch.no_grad():
        for here, there in walk(len(grid) - 1, jump, repeats):
            t, s = grid[here], grid[there]
            if there < here:
                ratio = s.alpha / t.alpha
                x = ratio * x + math.sqrt(s.sigma**2 - (ratio * t.sigma) ** 2) * randn(x)
                continue
            x = step(x, denoise(x, t), t, s, *split(t, s, 1.0), randn)
            certain = s.alpha * y + (s.sigma * randn(x) if s.sigma else 0.0)
            x = known * certain + (1 - known) * x
    return x


def walk(steps: int, jump: int, repeats: int) -> Iterator[tuple[int, int]]:
    """Yield the steps of `repaint` as pairs (from, to) of indices in a grid of ``steps`` steps.

    The steps lead to the clean level. After each group of ``jump`` levels but the last, they go
    back to the beginning of the group and repeat it, ``repeats - 1`` times.
    """
    left = dict.fromkeys(range(jump, steps, jump), repeats - 1)
    here = 0
    while here < steps:
        yield here, here + 1
        here += 1
        if left.get(here, 0):
            left[here] -= 1
            for _ in range(jump):
                yield here, here - 1
                here -= 1


def calls(steps: int, jump: int = JUMP, repeats: int = REPEATS) -> int:
    """Return the number of denoiser calls that `repaint` makes."""
    return sum(there > here for here, there in walk(steps, jump, repeats))
