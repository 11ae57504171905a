"""Make the best grid for one model and one number of steps, by measuring errors of single steps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mezzotint.diffusion.level import Level, Schedule
from mezzotint.diffusion.prediction import Denoiser
from mezzotint.diffusion.samplers import SAMPLERS
from mezzotint.diffusion.samplers.step import step
from mezzotint.errors import UserError

FINE = 96  # steps of the fine path, which approximates the exact flow
MOST = FINE // 4  # the largest number of steps; with more, the choice of levels matters little
OTHERS = ("logsnr", "karras")  # spacings whose grids are compared with the optimised grid


def optimised(
    denoise: Denoiser, batches: Sequence[Tensor], schedule: Schedule, steps: int, order: int
) -> list[float]:
    """Find the levels with which the result of a few steps is nearest to that of the exact flow.

    1. Sample from each batch of noise in FINE steps, from levels that are equally spaced in
       ``ln(alpha / sigma)``. This gives the fine path, with x_i at each level i.
    2. Make a single step from x_i to every cleaner level j, which gives x~_j, and measure its error
       ``|x~_j - x_j|``. The step is a DDIM step, or, if the order is 2 or more, a step of
       DPM-Solver++(2M) whose previous step had the same length. No further denoiser calls are
       needed, because the estimates of x0 on the fine path are used again.
    3. Estimate how much of that error is left at the clean level. For Gaussian data the error
       shrinks by the factor ``sqrt(v / (alpha_j^2 v + sigma_j^2))``, where v is the variance of the
       data. As v, take the variance of the batch at the end of the fine path.
    4. Find the shortest path of ``steps`` edges by dynamic programming, which Watson et al. 2021
       (arXiv 2106.03802) use for the variational bound.
    5. Errors do not add up exactly. So compare the grid of this shortest path with the grids of
       the spacings in OTHERS. Choose the grid whose samples are nearest to the end of the fine
       path.

    Args:
        denoise: The denoiser, guided and clipped as in sampling.
        batches: Standard normal noise, (B, C, H, W) each.
        schedule: The schedule of the model, with at least FINE timesteps.
        steps: The number of noisy levels, at most MOST.
        order: The order of the sampler; orders above 2 are treated as 2.

    Returns:
        ``steps`` values of sigma / alpha, falling.

    Raises:
        UserError: If there are too many steps, or the schedule is too short.
    """
    fine = path(schedule, steps)
    costs, ends = zip(*(errors(denoise, x, fine, order) for x in batches), strict=True)
    found = [fine[i] for i in shortest(torch.stack(costs).sum(0), steps)]
    candidates = [[*found, fine[-1]], *(schedule.grid(steps, name) for name in OTHERS)]
    sampler = SAMPLERS["dpmpp_2m" if order > 1 else "ddim"]

    def missed(grid: list[Level]) -> float:
        there = [sampler(denoise, x, grid) - end for x, end in zip(batches, ends, strict=True)]
        return float(torch.cat(there).square().mean())

    return [level.sigma / level.alpha for level in min(candidates, key=missed)[:-1]]


def path(schedule: Schedule, steps: int) -> list[Level]:
    """Return the levels of the fine path of `optimised`, which chooses the grid from them.

    Raises UserError if ``steps`` exceeds MOST, or the schedule has fewer than FINE timesteps.
    """
    if steps > MOST or len(schedule) < FINE:
        raise UserError(
            f"an optimised grid has at most {MOST} steps and needs at least {FINE} timesteps: "
            f'choose `spacing="logsnr"` for {steps} steps on {len(schedule)} timesteps'
        )
    return schedule.grid(FINE, "logsnr")


def errors(denoise: Denoiser, x: Tensor, fine: list[Level], order: int) -> tuple[Tensor, Tensor]:
    """Estimate the error that a single step between two levels of ``fine`` causes in the samples.

    This does steps 1 to 3 of `optimised` for one batch of noise x.

    Returns:
        A tuple of the errors and the samples. The errors are (FINE + 1, FINE + 1), float64: the
        element in row i and column j is the error of the step from level i to level j, and is
        infinite unless the step reduces the noise. The samples are made by steps through all
        levels, and have the shape of x.
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
    found, shrinks = [], []
    for i, (level, x_i, x0) in enumerate(seen):
        for j in range(i + 1, len(fine)):
            to, back = fine[j], 2 * i - j
            slope = x0 - seen[back][2] if order > 1 and to.sigma and back >= 0 else 0
            error = (step(x_i, x0 + slope / 2, level, to) - walk[j]).square().mean().sqrt()
            found.append(error)
            shrinks.append(math.sqrt(variance / (to.alpha**2 * variance + to.sigma**2)))
    # The errors are in the order of the loops. They are read together, because each reading waits
    # for the device.
    i, j = torch.triu_indices(len(seen), len(fine), offset=1)
    cost[i, j] = torch.stack(found).cpu().double() * torch.tensor(shrinks, dtype=torch.float64)
    return cost, clean


def shortest(cost: Tensor, steps: int) -> list[int]:
    """Return all nodes but the last of the cheapest path with ``steps`` edges.

    The path leads from the first node to the last. ``cost[i, j]`` is the cost of the edge from node
    i to node j.
    """
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
