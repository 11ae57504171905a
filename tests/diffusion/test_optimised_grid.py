"""Grids made for one model, compared with every other path, and on data with an exact solution."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

import mezzotint as mz
from mezzotint.diffusion.level import Level
from mezzotint.diffusion.optimised_grid import FINE, MOST, errors, optimised, shortest

from oracles import Gaussian, Mixture

SCHEDULE = mz.linear(1000)
FINEST = SCHEDULE.grid(FINE, "logsnr")
DATA = Mixture.random(6, parts=4, seed=1)


def noise(count: int, seed: int) -> Tensor:
    randn = torch.Generator().manual_seed(seed)
    return torch.randn(count, 6, generator=randn, dtype=torch.float64)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("steps", [1, 2, 3, 5, 7])
def test_the_shortest_path_is_the_least_of_all_of_them(steps: int, seed: int) -> None:
    size = 8
    cost = torch.rand(
        size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    cost = cost.masked_fill(torch.ones(size, size).tril() > 0, math.inf)

    def of(path: Sequence[int]) -> float:
        return float(sum(cost[a, b] for a, b in itertools.pairwise([*path, size - 1])))

    every = [(0, *inner) for inner in itertools.combinations(range(1, size - 1), steps - 1)]
    found = shortest(cost, steps)
    assert tuple(found) in every
    assert of(found) == pytest.approx(min(map(of, every)), abs=1e-15)


@pytest.fixture(scope="module", params=[1, 2], ids=["ddim", "dpmpp"])
def measured(request: pytest.FixtureRequest) -> tuple[int, Tensor]:
    """Return an order, and the costs of its steps on the mixture."""
    return request.param, errors(DATA.denoise, noise(64, 0), FINEST, request.param)[0]


def nearest(grid: Sequence[Level]) -> list[int]:
    """Return the nodes of the fine path that are nearest to the noisy levels of a grid."""
    lams = torch.tensor([level.lam for level in FINEST[:-1]])
    return [int((lams - level.lam).abs().argmin()) for level in grid[:-1]]


@pytest.mark.parametrize("steps", [2, 5, 10, MOST])
@pytest.mark.parametrize("spacing", ["logsnr", "karras"])
def test_no_grid_of_its_size_has_smaller_local_errors(measured, spacing: str, steps: int) -> None:
    _, cost = measured

    def of(path: Sequence[int]) -> float:
        return float(sum(cost[a, b] for a, b in itertools.pairwise([*path, FINE])))

    assert of(shortest(cost, steps)) <= of(nearest(SCHEDULE.grid(steps, spacing)))


def test_costs_lead_from_noise_to_the_clean_level_alone(measured) -> None:
    _, cost = measured
    assert cost.shape == (FINE + 1, FINE + 1)
    assert cost.dtype == torch.float64
    forward = torch.ones_like(cost).triu(1) > 0
    assert torch.isfinite(cost[forward]).all()
    assert cost[~forward].isinf().all()
    assert cost[0, FINE] > 10 * cost[0, 1]  # a step costs the more the longer it is


@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_cost_is_what_one_step_of_the_papers_goes_wrong_by(order: int) -> None:
    fine, seen = SCHEDULE.grid(12, "logsnr"), []

    def watched(x: Tensor, level: Level) -> Tensor:
        seen.append((x, DATA.denoise(x, level)))
        return seen[-1][1]

    cost = errors(watched, noise(64, 0), fine, order)[0]
    assert len(seen) == 12  # not one call more than the path takes
    clean = seen[-1][1]  # DDIM's step to the clean level is x0_hat itself
    path = [*(x for x, _ in seen), clean]
    for i, j in [(0, 1), (0, 12), (1, 5), (2, 4), (4, 6), (5, 10), (9, 11), (6, 12), (11, 12)]:
        s, t, (x, x0) = fine[j], fine[i], seen[i]
        if order > 1 and j < 12 and 2 * i - j >= 0:  # Lu et al. 2022, algorithm 2, r = 1
            x0 = 1.5 * x0 - 0.5 * seen[2 * i - j][1]
        x = s.sigma / t.sigma * x + s.alpha * -math.expm1(t.lam - s.lam) * x0
        error = float((x - path[j]).square().mean().sqrt())
        v = float(clean.var())
        wanted = error * math.sqrt(v / (s.alpha**2 * v + s.sigma**2))
        assert float(cost[i, j]) == pytest.approx(wanted, rel=1e-9, abs=1e-12)


def test_on_gaussian_data_a_cost_is_what_is_left_of_an_error_at_the_end() -> None:
    data = Gaussian(mean=0.0, var=0.3)
    start = noise(512, 0)
    cost, _ = errors(data.denoise, start, FINEST, 1)
    path = [mz.SAMPLERS["dpmpp_2m"](data.denoise, start, FINEST[: i + 1]) for i in (20, 60, 80)]
    clean = mz.SAMPLERS["dpmpp_2m"](data.denoise, start, FINEST)
    for (i, j), x in zip([(20, 40), (60, 66), (80, 94)], path, strict=True):
        there = mz.SAMPLERS["ddim"](data.denoise, x, [FINEST[i], FINEST[j]])
        end = mz.SAMPLERS["dpmpp_2m"](data.denoise, there, FINEST[j:])
        assert float(cost[i, j]) == pytest.approx(
            float((end - clean).square().mean().sqrt()), rel=0.1
        )


def test_a_fine_step_of_first_order_costs_next_to_nothing() -> None:
    """The path comes from DPM-Solver++(2M), so its difference from DDIM remains."""
    cost, _ = errors(DATA.denoise, noise(64, 0), FINEST, 1)
    one = cost.diagonal(1)
    four = torch.tensor([cost[i, i + 4] for i in range(FINE - 4)])
    # A local error of first order falls as the square of the step; 16 of 4 times the length.
    ratio = four[20:80] / one[20:80]
    assert 10 < ratio.median() < 24


@pytest.mark.parametrize("steps", [1, 2, 5, MOST])
def test_a_grid_falls_from_the_noisiest_level(steps: int) -> None:
    knots = optimised(DATA.denoise, [noise(32, 0)], SCHEDULE, steps, 1)
    assert len(knots) == steps
    assert knots[0] == FINEST[0].sigma / FINEST[0].alpha
    assert all(a > b > 0 for a, b in itertools.pairwise(knots)) or steps == 1
    grid = SCHEDULE.grid(steps, "knots", knots)
    got = [level.sigma / level.alpha for level in grid[:-1]]
    assert got == pytest.approx(knots)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("steps", [2, 5, 10])
def test_no_grid_along_lambda_ends_nearer_to_the_flow(order: int, steps: int) -> None:
    start = noise(64, 0)
    end = mz.SAMPLERS["dpmpp_2m"](DATA.denoise, start, FINEST)
    sampler = mz.SAMPLERS["dpmpp_2m" if order > 1 else "ddim"]

    def missed(grid: list[Level]) -> float:
        return float((sampler(DATA.denoise, start, grid) - end).square().mean())

    knots = optimised(DATA.denoise, [start], SCHEDULE, steps, order)
    here = missed(SCHEDULE.grid(steps, "knots", knots))
    for spacing in ("logsnr", "karras"):
        assert here <= missed(SCHEDULE.grid(steps, spacing)) * (1 + 1e-6)


def test_more_steps_than_there_is_a_choice_for_are_refused() -> None:
    wrong = r"at most 24 steps and .*: choose `spacing=\"logsnr\"` for 25"
    with pytest.raises(mz.UserError, match=wrong) as refused:
        optimised(DATA.denoise, [noise(2, 0)], SCHEDULE, MOST + 1, 1)
    assert len(str(refused.value).splitlines()) == 1


def final_error(sampler: str, grid: list[Level], **options: object) -> float:
    """Return a sampler's RMS error at the end of the flow, on noise that was not used for grids."""
    x, clean = noise(256, 99), SCHEDULE.at(7.0)
    exact = DATA.flow(x, grid[0].lam, clean.lam, steps=400)
    got = mz.SAMPLERS[sampler](DATA.denoise, x, grid, **options)
    return float((got - DATA.denoise(exact, clean)).square().mean().sqrt())


@pytest.mark.parametrize("steps", [5, 7, 10])
@pytest.mark.parametrize(("sampler", "order"), [("ddim", 1), ("dpmpp_2m", 2)])
def test_an_optimised_grid_ends_nearer_to_the_exact_flow(sampler, order: int, steps: int) -> None:
    knots = optimised(DATA.denoise, [noise(64, i) for i in (0, 1)], SCHEDULE, steps, order)
    ours = final_error(sampler, SCHEDULE.grid(steps, "knots", knots))
    others = {s: final_error(sampler, SCHEDULE.grid(steps, s)) for s in ("trailing", "logsnr")}
    assert ours < min(others.values()), others


def test_on_a_cosine_schedule_the_path_begins_where_grids_do() -> None:
    """No grid along lambda visits its last rows, with sigma / alpha up to 20,000."""
    schedule = mz.cosine(1000)
    knots = optimised(DATA.denoise, [noise(32, 0)], schedule, 5, 1)
    assert knots[0] == pytest.approx(80)
    to_noise = mz.zero_terminal_snr(schedule)
    assert optimised(DATA.denoise, [noise(32, 0)], to_noise, 5, 1)[0] == pytest.approx(80)
