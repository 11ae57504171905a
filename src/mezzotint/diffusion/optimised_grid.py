"""A grid made for one model and one number of steps, by measuring where a step goes wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mezzotint.diffusion.level import Level, Schedule
from mezzotint.diffusion.prediction import Denoiser
from mezzotint.diffusion.samplers import SAMPLERS
from mezzotint.diffusion.samplers.step import step
from mezzotint.diffusion.spacings import ALONG_LAMBDA
from mezzotint.errors import UserError

FINE = 96  # levels of the path that steps are measured against
MOST = FINE // 4  # steps: more would have nothing to choose from


def optimised(
    denoise: Denoiser, batches: Sequence[Tensor], schedule: Schedule, steps: int, order: int
) -> list[float]:
    """The ``steps`` values of sigma / alpha, falling, that lead nearest to where the flow ends.

    Each batch of noise is walked to the clean level by FINE steps, uniform in lambda. Between any
    two of those levels, i and j, one step of DDIM (or for ``order`` 2 and more of
    DPM-Solver++(2M), as if the step before it had been as long) from x_i goes wrong by
    ``|x~_j - x_j|``, which costs no more denoiser calls. What becomes of an error on the way to the
    clean level is taken from Gaussian data of the same variance v: it shrinks by
    ``sqrt(v / (alpha_j^2 v + sigma_j^2))``. The shortest path of ``steps`` edges is a
    candidate (dynamic programming, as Watson et al. 2021, arXiv 2106.03802, did with the
    variational bound); so are the spacings along lambda, since errors need not add up. The one that
    ends nearest to the fine walk is the grid. Raises UserError for more than MOST steps, and for a
    schedule shorter than FINE.
    """
    fine = path(schedule, steps)
    costs, ends = zip(*(errors(denoise, x, fine, order) for x in batches), strict=True)
    found = [fine[i] for i in shortest(torch.stack(costs).sum(0), steps)]
    candidates = [[*found, fine[-1]], *(schedule.grid(steps, name) for name in ALONG_LAMBDA)]
    sampler = SAMPLERS["dpmpp_2m" if order > 1 else "ddim"]

    def missed(grid: list[Level]) -> float:
        there = [sampler(denoise, x, grid) - end for x, end in zip(batches, ends, strict=True)]
        return float(torch.cat(there).square().mean())

    return [level.sigma / level.alpha for level in min(candidates, key=missed)[:-1]]


def path(schedule: Schedule, steps: int) -> list[Level]:
    """The fine levels that an optimised grid chooses from. Raises UserError as `optimised` does."""
    if steps > MOST or len(schedule) < FINE:
        raise UserError(
            f"an optimised grid has at most {MOST} steps, on a schedule of at least {FINE}: "
            f"take logsnr for {steps} of {len(schedule)}"
        )
    return schedule.grid(FINE, "logsnr")


def errors(denoise: Denoiser, x: Tensor, fine: list[Level], order: int) -> tuple[Tensor, Tensor]:
    """What a step between any two levels of the fine path costs, and where that path ends.

    The cost is float64, infinite backwards.
    """
    seen: list[tuple[Level, Tensor, Tensor]] = []

    def watched(x: Tensor, level: Level) -> Tensor:
        x0 = denoise(x, level)
        seen.append((level, x, x0))
        return x0

    clean = SAMPLERS["dpmpp_2m"](watched, x, fine)
    walk = [x for _, x, _ in seen] + [clean]
    variance = float(clean.var())
    cost = torch.full((len(fine), len(fine)), math.inf, dtype=torch.float64)
    for i, (level, x_i, x0) in enumerate(seen):
        for j in range(i + 1, len(fine)):
            to, back = fine[j], 2 * i - j
            slope = x0 - seen[back][2] if order > 1 and to.sigma and back >= 0 else 0
            error = (step(x_i, x0 + slope / 2, level, to) - walk[j]).square().mean().sqrt()
            shrinks = math.sqrt(variance / (to.alpha**2 * variance + to.sigma**2))
            cost[i, j] = float(error) * shrinks
    return cost, clean


def shortest(cost: Tensor, steps: int) -> list[int]:
    """The nodes, but for the last, of the cheapest path of ``steps`` edges from first to last."""
    best = torch.full((len(cost),), math.inf, dtype=cost.dtype)
    best[0] = 0
    came: list[Tensor] = []
    for _ in range(steps):
        best, before = (best[:, None] + cost).min(0)
        came.append(before)
    at, nodes = len(cost) - 1, []
    for before in reversed(came):
        at = int(before[at])
        nodes.append(at)
    return nodes[::-1]
