from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from hypothesis import given
from hypothesis import strategies as st

import mezzotint as mz
from mezzotint.noise import SPACINGS


def test_tables_are_float64_of_T_plus_1_rows_and_row_0_is_clean() -> None:
    for schedule in (mz.linear(1000), mz.cosine(1000), mz.linear(10)):
        assert schedule.alpha.dtype == schedule.sigma.dtype == torch.float64
        assert schedule.alpha.shape == schedule.sigma.shape == (len(schedule) + 1,)
        assert (schedule.alpha[0], schedule.sigma[0]) == (1, 0)
        torch.testing.assert_close(
            schedule.alpha**2 + schedule.sigma**2, torch.ones_like(schedule.alpha)
        )


def test_linear_is_the_product_of_the_papers_betas() -> None:
    alpha_bar = 1.0
    schedule = mz.linear(1000)
    for i in range(1000):
        alpha_bar *= 1 - (1e-4 + i / 999 * (0.02 - 1e-4))
        assert float(schedule.alpha[i + 1]) ** 2 == pytest.approx(alpha_bar, rel=1e-12)
    assert float(schedule.alpha[-1]) ** 2 == pytest.approx(4.0358e-5, rel=1e-4)  # Ho et al., sec. 4


def test_cosine_is_the_papers_quotient_until_the_cut() -> None:
    def f(i: int, s: float) -> float:
        return math.cos((i / 1000 + s) / (1 + s) * math.pi / 2) ** 2

    for s in (0.0, 0.008):
        schedule = mz.cosine(1000, s=s)
        for i in (1, 2, 500, 990):
            assert float(schedule.alpha[i]) ** 2 == pytest.approx(f(i, s) / f(0, s), rel=1e-9)
        # The quotient itself ends at 0; with beta cut at 0.999 the last row is a thousandth.
        ratio = float(schedule.alpha[-1] / schedule.alpha[-2]) ** 2
        assert ratio == pytest.approx(1e-3, rel=1e-6)


@pytest.mark.parametrize(
    ("ours", "theirs"), [(mz.linear, "linear"), (mz.cosine, "squaredcos_cap_v2")]
)
def test_schedules_equal_diffusers(ours, theirs) -> None:
    table = DDIMScheduler(1000, beta_schedule=theirs).alphas_cumprod.double()
    torch.testing.assert_close(ours(1000).alpha[1:] ** 2, table, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("steps", [2, 7, 10, 48, 50, 250, 999, 1000])
def test_spacings_equal_diffusers(spacing: str, steps: int) -> None:
    scheduler = DDIMScheduler(1000, timestep_spacing=spacing)
    scheduler.set_timesteps(steps)
    ours = [int(level.t) for level in mz.linear(1000).grid(steps, spacing=spacing)]
    assert ours == [*scheduler.timesteps.tolist()[:steps], -1]


@pytest.mark.parametrize("steps", [10, 20])
def test_quadratic_is_ddims(steps: int) -> None:
    song = [int(s) for s in np.linspace(0, np.sqrt(1000 * 0.8), steps) ** 2]
    ours = [int(level.t) for level in mz.linear(1000).grid(steps, spacing="quadratic")]
    assert ours == [*reversed(song), -1]


@given(T=st.integers(1, 1500), share=st.floats(0, 1), spacing=st.sampled_from(sorted(SPACINGS)))
def test_every_grid_falls_strictly_to_the_clean_level(T: int, share: float, spacing: str) -> None:
    steps = max(1, round(share * T))
    t = SPACINGS[spacing](steps, T)
    assert len(t) == steps
    assert t == sorted(set(t))
    assert t[0] >= 0
    assert t[-1] < T


def test_grid_ends_at_the_clean_level() -> None:
    grid = mz.cosine(1000).grid(50, spacing="trailing")
    assert len(grid) == 51
    assert grid[0].t == 999
    assert grid[-1] == mz.Level(-1, 1.0, 0.0)


@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_a_step_count_outside_the_schedule_is_refused(steps: int) -> None:
    with pytest.raises(mz.UserError, match=f"steps is {steps}: choose 1 to 1000"):
        mz.linear(1000).grid(steps)


def test_an_unknown_spacing_names_the_known() -> None:
    with pytest.raises(mz.UserError, match="choose one of leading, trailing, linspace, quadratic"):
        mz.linear(1000).grid(10, spacing="cubic")
