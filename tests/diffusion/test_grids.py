"""The levels that a spacing visits, and the errors of Schedule.grid."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from diffusers import DDIMScheduler
from hypothesis import given
from hypothesis import strategies as st

import mezzotint as mz
from mezzotint.config.sampling import SampleConfig
from mezzotint.diffusion.level import Schedule
from mezzotint.diffusion.schedules import linear, zero_terminal_snr
from mezzotint.diffusion.spacings import SPACINGS, leading, linspace, quadratic, trailing

from schedules import EVERY_SCHEDULE


def ratios(grid: list[mz.Level]) -> list[float]:
    """Return sigma / alpha at the noisy levels of a grid."""
    return [level.sigma / level.alpha for level in grid[:-1]]


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("steps", [2, 7, 10, 48, 50, 61, 250, 999, 1000])
def test_spacings_equal_diffusers(spacing: str, steps: int) -> None:
    scheduler = DDIMScheduler(1000, timestep_spacing=spacing)
    scheduler.set_timesteps(steps)
    ours = [int(level.t) for level in linear(1000).grid(steps, spacing=spacing)]
    assert ours == [*scheduler.timesteps.tolist()[:steps], -1]


@pytest.mark.parametrize("steps", [10, 20])
def test_quadratic_is_ddims(steps: int) -> None:
    song = [int(s) for s in np.linspace(0, np.sqrt(1000 * 0.8), steps) ** 2]
    ours = [int(level.t) for level in linear(1000).grid(steps, spacing="quadratic")]
    assert ours == [*reversed(song), -1]


@EVERY_SCHEDULE
@pytest.mark.parametrize("spacing", [*SPACINGS, "knots"])
def test_every_grid_falls_strictly_to_the_clean_level(schedule: Schedule, spacing: str) -> None:
    knots = (10.0, 1.0, 0.2) if spacing == "knots" else ()
    for steps in (1, 2, 3, 5, 10, 50, 250, 1000):
        grid = schedule.grid(steps, spacing, knots[:steps])
        assert len(grid) == steps + 1
        assert grid[-1] == mz.Level(-1, 1.0, 0.0)
        assert all(t.sigma * s.alpha > s.sigma * t.alpha for t, s in pairwise(grid))
        assert all(t.t > s.t for t, s in pairwise(grid))
        assert all(abs(t.alpha**2 + t.sigma**2 - 1) < 1e-14 for t in grid)
        assert grid[0].t <= 999


ALONG_T = [leading, trailing, linspace, quadratic]


@given(T=st.integers(1, 1500), share=st.floats(0, 1), choose=st.sampled_from(ALONG_T))
def test_every_spacing_along_t_rises_within_the_table(T: int, share: float, choose) -> None:
    steps = max(1, round(share * T))
    t = choose(steps, T)
    assert len(t) == steps
    assert t == sorted(set(t))
    assert t[0] >= 0
    assert t[-1] < T


@EVERY_SCHEDULE
def test_at_is_the_inverse_of_a_row(schedule: Schedule) -> None:
    finite = range(1, 1001 if schedule.alpha[-1] else 1000)
    for i in finite:
        row, found = schedule.row(i), schedule.at(schedule.row(i).lam)
        assert found.t == pytest.approx(i - 1, abs=1e-6)
        assert (found.alpha, found.sigma) == pytest.approx((row.alpha, row.sigma), rel=1e-9)


@EVERY_SCHEDULE
def test_a_lambda_beyond_the_table_keeps_the_nearest_t(schedule: Schedule) -> None:
    assert schedule.at(schedule.row(1).lam + 1).t == 0
    assert schedule.at(-40.0).t == pytest.approx(999, abs=1e-9)


def test_lambda_is_infinite_at_both_ends() -> None:
    schedule = zero_terminal_snr(linear(1000))
    assert schedule.row(0).lam == math.inf
    assert schedule.row(1000).lam == -math.inf


@EVERY_SCHEDULE
@pytest.mark.parametrize("steps", [2, 10, 50])
@pytest.mark.parametrize("spacing", ["logsnr", "karras"])
def test_grids_along_lambda_are_the_papers(schedule: Schedule, spacing: str, steps: int) -> None:
    """They stay within EDM's sigmas, 0.002 to 80, and within the table."""
    top = schedule.sigma[-1] / schedule.alpha[-1]
    high, low = min(float(top), 80.0), max(float(schedule.sigma[1] / schedule.alpha[1]), 0.002)
    for i, got in enumerate(ratios(schedule.grid(steps, spacing))):
        share = i / (steps - 1)
        wanted = high * (low / high) ** share
        if spacing == "karras":  # Karras et al. 2022, eq. 5
            wanted = (high ** (1 / 7) + share * (low ** (1 / 7) - high ** (1 / 7))) ** 7
        assert got == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_single_step_is_from_the_noisy_end(spacing: str) -> None:
    start = linear(1000).grid(1, spacing)[0]
    if spacing in ("trailing", "linspace"):
        assert start.t == 999
    if spacing in ("logsnr", "karras"):
        assert ratios([start, start]) == pytest.approx([80])


@EVERY_SCHEDULE
def test_only_grids_along_t_begin_in_pure_noise(schedule: Schedule) -> None:
    noisy = [s for s in SPACINGS if not schedule.grid(10, s)[0].alpha]
    assert noisy == ([] if schedule.alpha[-1] else ["trailing", "linspace"])


KNOTS = (14.6, 6.3, 3.8, 2.2, 1.3, 0.86, 0.56, 0.38, 0.23, 0.12, 0.06)


def test_a_grid_of_as_many_steps_as_knots_goes_through_each() -> None:
    for knots in (KNOTS, np.array(KNOTS)):
        assert ratios(linear(1000).grid(len(KNOTS), "knots", knots)) == pytest.approx(KNOTS)


@pytest.mark.parametrize("steps", [2, 5, 21, 50])
def test_between_knots_the_logarithm_is_straight(steps: int) -> None:
    """Sabour et al. 2024 interpolate with numpy in the same way."""
    at = np.linspace(0, 1, steps)
    wanted = np.exp(np.interp(at, np.linspace(0, 1, len(KNOTS)), np.log(KNOTS)))
    assert ratios(linear(1000).grid(steps, "knots", KNOTS)) == pytest.approx(wanted.tolist())


def test_knots_may_be_the_ends_of_the_table() -> None:
    schedule = linear(1000)
    ends = [math.exp(-schedule.row(i).lam) for i in (1000, 1)]
    grid = schedule.grid(10, "knots", ends)
    assert (grid[0].t, grid[-2].t) == pytest.approx((999, 0), abs=1e-6)


@pytest.mark.parametrize(
    ("steps", "spacing", "knots", "message"),
    [
        (0, "leading", (), "`steps` is 0: choose 1 to 1000, the schedule's length"),
        (-1, "karras", (), "`steps` is -1: choose 1 to 1000, the schedule's length"),
        (1001, "logsnr", (), "`steps` is 1001: choose 1 to 1000, the schedule's length"),
        (10, "cubic", (), "unknown spacing 'cubic': choose one of leading, trailing, linspace"),
        (10, "knots", (), '`knots` and `spacing="knots"` belong together'),
        (10, "karras", (3, 1), '`knots` and `spacing="knots"` belong together'),
        (10, "knots", (1,), "a grid of 10 steps needs more than one knot: give two or more"),
        (10, "knots", (1, 1), "`knots` has 1, 1: give finite numbers"),
        (10, "knots", (1, 3), "`knots` has 1, 3: give finite numbers"),
        (10, "knots", (1, 0), "`knots` has 1, 0: give finite numbers"),
        (10, "knots", (1, -1), "`knots` has 1, -1: give finite numbers"),
        (10, "knots", (math.inf, 1), "`knots` has inf, 1: give finite numbers"),
        (
            10,
            "knots",
            (200, 1),
            "knot 200 is outside the schedule: choose values of sigma / alpha from 0.01 to 157.4",
        ),
        (
            10,
            "knots",
            (1, 0.001),
            "knot 0.001 is outside the schedule: choose values of sigma / alpha from 0.01 to 157.4",
        ),
    ],
)
def test_a_grid_that_cannot_be_is_refused_in_a_line(
    steps: int, spacing: str, knots: tuple[float, ...], message: str
) -> None:
    with pytest.raises(mz.UserError) as caught:
        linear(1000).grid(steps, spacing, knots)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_table_beyond_what_grids_along_lambda_walk_is_refused_there() -> None:
    far = mz.shifted(linear(1000), 1e5)
    assert len(far.grid(3, "trailing")) == 4
    with pytest.raises(mz.UserError, match="needs levels with sigma / alpha between"):
        far.grid(3, "logsnr")


@pytest.mark.parametrize("steps", [2.0, True, "10", None])
def test_a_number_of_steps_is_whole(steps) -> None:
    with pytest.raises(mz.UserError, match=r"^`steps` is .*: give a whole number$"):
        linear(1000).grid(steps)
    assert len(linear(1000).grid(np.int64(10))) == 11


@EVERY_SCHEDULE
def test_a_grid_is_spaced_as_in_sampling_by_default(schedule: Schedule) -> None:
    assert schedule.grid(50) == schedule.grid(50, spacing=SampleConfig().spacing)
    assert schedule.grid(50) == schedule.grid(50, spacing="trailing")


@pytest.mark.parametrize(
    "spacing",
    [
        lambda schedule, n: [schedule.row(i) for i in range(1, n + 1)],  # rises
        lambda schedule, n: [schedule.row(n)] * n,  # stays
        lambda schedule, n: [schedule.row(n)],  # too few
    ],
)
def test_a_spacing_that_gives_no_grid_is_refused(spacing, monkeypatch) -> None:
    monkeypatch.setitem(mz.SPACINGS, "mine", spacing)
    with pytest.raises(mz.UserError, match=r"^the spacing 'mine' does not give 5 levels of stri"):
        linear(1000).grid(5, "mine")
