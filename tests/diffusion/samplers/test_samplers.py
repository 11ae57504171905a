from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

import mezzotint as mz
from mezzotint.diffusion.level import Level

from oracles import Gaussian, affine

SCHEDULES = {"linear": mz.linear(1000), "cosine": mz.cosine(1000)}
METHODS = {
    "ddim 0": ("ddim", {"eta": 0.0}),
    "ddim 0.5": ("ddim", {"eta": 0.5}),
    "ddim 1": ("ddim", {"eta": 1.0}),
    "ddpm small": ("ddpm", {"variance": "small"}),
    "ddpm large": ("ddpm", {"variance": "large"}),
}


def coefficients(name: str, t: Level, s: Level) -> tuple[float, float, float]:
    """Return (k, c, n) of the update ``x_s = k x0_hat + c eps_hat + n z``, as in the papers."""
    ab_t, ab_s = t.alpha**2, s.alpha**2
    beta = 1 - ab_t / ab_s  # of the step as a whole
    small = math.sqrt((1 - ab_s) / (1 - ab_t) * beta)
    if name == "ddpm large":
        # Ho et al. eq. 7's mean; its x_t is sqrt(ab_t) x0 + sqrt(1 - ab_t) eps.
        c = math.sqrt(ab_t / ab_s) * (1 - ab_s) / (1 - ab_t) * math.sqrt(1 - ab_t)
        return math.sqrt(ab_s), c, math.sqrt(beta) if s.sigma else 0.0
    eta = {"ddim 0": 0.0, "ddim 0.5": 0.5}.get(name, 1.0)
    n = eta * small
    return math.sqrt(ab_s), math.sqrt(1 - ab_s - n**2), n  # Song et al. eq. 12


def grids() -> list[tuple[str, int]]:
    return [(name, steps) for name in SCHEDULES for steps in (1000, 250, 10, 3)]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(("schedule", "steps"), grids())
def test_on_gaussian_data_mean_and_variance_move_as_the_closed_form_says(
    name: str, schedule: str, steps: int
) -> None:
    data = Gaussian(mean=0.7, var=0.4)
    grid = SCHEDULES[schedule].grid(steps, spacing="trailing")
    for t, s in list(pairwise(grid))[:: max(1, steps // 40)]:
        mean, var = data.marginal(t)
        a, b, n = affine(*METHODS[name], data.denoise, [t, s])

        k, c, spread = coefficients(name, t, s)
        gain = t.alpha * data.var / (t.alpha**2 * data.var + t.sigma**2)
        slope = k * gain + c * (1 - t.alpha * gain) / t.sigma
        assert a * mean + b == pytest.approx(k * data.mean, abs=1e-9)  # at the marginal's mean
        assert a**2 * var + n**2 == pytest.approx(slope**2 * var + spread**2, rel=1e-8)


@pytest.mark.parametrize("name", ["ddim 0", "ddim 0.5", "ddim 1", "ddpm small"])
@pytest.mark.parametrize(("schedule", "steps"), grids())
def test_on_a_point_every_eta_keeps_the_marginals_over_steps_of_any_length(
    name: str, schedule: str, steps: int
) -> None:
    data = Gaussian(mean=0.7, var=0.0)
    grid = SCHEDULES[schedule].grid(steps, spacing="trailing")
    mean, var = data.marginal(grid[0])
    for t, s in pairwise(grid):
        a, b, n = affine(*METHODS[name], data.denoise, [t, s])
        mean, var = a * mean + b, a**2 * var + n**2
        assert (mean, var) == pytest.approx(data.marginal(s), abs=1e-7)


@pytest.mark.parametrize(("schedule", "steps"), grids())
def test_on_standard_normal_data_the_large_variance_is_the_exact_one(
    schedule: str, steps: int
) -> None:
    data = Gaussian(mean=0.0, var=1.0)
    grid = SCHEDULES[schedule].grid(steps, spacing="trailing")
    for t, s in list(pairwise(grid))[:-1]:
        a, _, n = affine("ddpm", {"variance": "large"}, data.denoise, [t, s])
        assert a**2 + n**2 == pytest.approx(1, abs=1e-9)


def test_ddim_1_is_the_ddpm_posterior_as_the_paper_writes_it() -> None:
    """Ho et al. 2020, eqs. 6 and 7, in beta and alpha_bar, row by row."""
    T = 1000
    schedule = mz.linear(T)
    beta = torch.linspace(1e-4, 0.02, T, dtype=torch.float64)
    bar = torch.cumprod(1 - beta, 0)
    x, x0, z = torch.randn(3, 5, dtype=torch.float64)
    grid = schedule.grid(T)
    for t, s in pairwise(grid):
        i = int(t.t)
        before = bar[i - 1] if i else torch.ones((), dtype=torch.float64)
        mean = (before.sqrt() * beta[i] * x0 + (1 - beta[i]).sqrt() * (1 - before) * x) / (
            1 - bar[i]
        )
        variance = (1 - before) / (1 - bar[i]) * beta[i]
        wanted = mean + variance.sqrt() * z
        for name in ("ddim 1", "ddpm small"):
            method, options = METHODS[name]
            got = mz.SAMPLERS[method](lambda *_: x0, x, [t, s], randn=lambda _: z, **options)
            torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9)


def test_the_last_step_adds_no_noise() -> None:
    grid = mz.linear(1000).grid(1, spacing="trailing")
    for method, options in METHODS.values():
        one, two = (
            mz.SAMPLERS[method](lambda x, _: x * 0 + 0.25, torch.randn(4), grid, **options)
            for _ in range(2)
        )
        assert one.tolist() == two.tolist() == [0.25] * 4


def test_the_noise_is_the_callers() -> None:
    grid = mz.linear(1000).grid(10)

    def go() -> Tensor:
        draw = torch.manual_seed(3)
        return mz.SAMPLERS["ddpm"](
            lambda x, _: x * 0.5,
            torch.ones(4),
            grid,
            randn=lambda x: torch.randn(4, generator=draw),
        )

    assert torch.equal(go(), go())


@pytest.mark.parametrize("eta", [-0.1, 1.1, float("nan")])
def test_eta_outside_its_range_is_refused(eta: float) -> None:
    with pytest.raises(mz.UserError, match=r"^`eta` is .*: choose 0 .* to 1"):
        mz.SAMPLERS["ddim"](lambda x, _: x, torch.ones(1), mz.linear(10).grid(2), eta=eta)


def test_an_unknown_variance_is_refused() -> None:
    with pytest.raises(mz.UserError, match="choose one of small, large"):
        mz.SAMPLERS["ddpm"](lambda x, _: x, torch.ones(1), mz.linear(10).grid(2), variance="huge")
