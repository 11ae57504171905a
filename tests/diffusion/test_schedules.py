"""Schedules: their formulas, and tables that are refused."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor

import mezzotint as mz
from mezzotint.diffusion.level import Schedule
from mezzotint.diffusion.schedules import (
    SCHEDULES,
    cosine,
    exponential,
    laplace,
    linear,
    scaled_linear,
    shifted,
    sigmoid,
    zero_terminal_snr,
)

from schedules import ENDING_IN_NOISE, EVERY_SCHEDULE, MADE


def bar(schedule: Schedule) -> Tensor:
    """Return alpha_bar of the timesteps, (T,)."""
    return schedule.alpha[1:] ** 2


@EVERY_SCHEDULE
def test_a_table_is_float64_from_clean_through_T_falling_rows(schedule: Schedule) -> None:
    alpha, sigma = schedule.alpha, schedule.sigma
    assert alpha.dtype == sigma.dtype == torch.float64
    assert alpha.shape == sigma.shape == (len(schedule) + 1,) == (1001,)
    assert (alpha[0], sigma[0]) == (1, 0)
    assert schedule.row(0) == mz.Level(-1, 1.0, 0.0)
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones(1001).double(), rtol=0, atol=1e-15)
    assert (alpha.diff() < 0).all()
    assert (sigma.diff() > 0).all()


@pytest.mark.parametrize("make", SCHEDULES.values(), ids=SCHEDULES)
def test_a_schedule_can_have_any_number_of_rows(make: Callable[[int], Schedule]) -> None:
    for T in (2, 10):
        schedule = make(T)
        assert len(schedule) == T
        assert (schedule.alpha.diff() < 0).all()


def test_linear_is_the_product_of_the_papers_betas() -> None:
    alpha_bar = 1.0
    for i, got in enumerate(bar(linear(1000)).tolist()):
        alpha_bar *= 1 - (1e-4 + i / 999 * (0.02 - 1e-4))
        assert got == pytest.approx(alpha_bar, rel=1e-12)
    assert alpha_bar == pytest.approx(4.0358e-5, rel=1e-4)  # Ho et al., sec. 4


def test_scaled_linear_is_the_product_of_squares_of_a_straight_line() -> None:
    alpha_bar = 1.0
    for i, got in enumerate(bar(scaled_linear(1000)).tolist()):
        alpha_bar *= 1 - (0.00085**0.5 + i / 999 * (0.012**0.5 - 0.00085**0.5)) ** 2
        assert got == pytest.approx(alpha_bar, rel=1e-12)


def f_cosine(u: float, s: float) -> float:
    return math.cos((u + s) / (1 + s) * math.pi / 2) ** 2


def f_sigmoid(u: float, start: float, end: float, tau: float) -> float:
    """Chen 2023, arXiv 2301.10972, before its value at 0 is scaled to 1."""

    def logistic(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    return logistic(end / tau) - logistic((start + u * (end - start)) / tau)


@pytest.mark.parametrize(
    ("make", "f", "options"),
    [
        (cosine, f_cosine, {"s": 0.0}),
        (cosine, f_cosine, {"s": 0.008}),
        (sigmoid, f_sigmoid, {"start": -3.0, "end": 3.0, "tau": 1.0}),
        (sigmoid, f_sigmoid, {"start": 0.0, "end": 3.0, "tau": 0.7}),
    ],
)
def test_a_curve_is_the_papers_quotient_until_the_cut(
    make: Callable[..., Schedule], f: Callable[..., float], options: dict[str, float]
) -> None:
    alpha_bar = bar(make(1000, **options))
    for i in (1, 2, 500, 990):
        wanted = f(i / 1000, **options) / f(0, **options)
        assert float(alpha_bar[i - 1]) == pytest.approx(wanted, rel=1e-9)
    # The quotient itself ends at 0; with beta cut at 0.999 the last row is a thousandth.
    assert float(alpha_bar[-1] / alpha_bar[-2]) == pytest.approx(1e-3, rel=1e-6)


def test_exponential_is_a_geometric_sequence() -> None:
    schedule = exponential(1000, lo=0.02, hi=50)
    ratio = (schedule.sigma / schedule.alpha)[1:]
    assert (float(ratio[0]), float(ratio[-1])) == pytest.approx((0.02, 50), rel=1e-12)
    steps = ratio[1:] / ratio[:-1]
    torch.testing.assert_close(steps, torch.full_like(steps, 2500 ** (1 / 999)))


@pytest.mark.parametrize(("mean", "width"), [(0.0, 0.5), (0.0, 1.5), (-1.0, 0.8)])
def test_laplace_rows_are_quantiles_of_the_log_snr(mean: float, width: float) -> None:
    schedule = laplace(1000, mean, width)
    for i in (1, 2, 250, 500, 501, 750, 1000):
        away = (2 * schedule.row(i).lam - mean) / width
        below = math.exp(away) / 2 if away < 0 else 1 - math.exp(-away) / 2  # Laplace's CDF
        assert below == pytest.approx(1 - (i - 0.5) / 1000, rel=1e-9)


@EVERY_SCHEDULE
@pytest.mark.parametrize("factor", [0.25, 1.0, 4.0])
def test_a_shift_divides_the_snr_by_its_square(schedule: Schedule, factor: float) -> None:
    moved = shifted(schedule, factor)
    snr, wanted = ((s.alpha[1:] / s.sigma[1:]) ** 2 for s in (moved, schedule))
    torch.testing.assert_close(snr, wanted / factor**2, rtol=1e-12, atol=0)


@EVERY_SCHEDULE
def test_shifts_multiply_and_1_is_none(schedule: Schedule) -> None:
    for table in ("alpha", "sigma"):
        plain, none, twice, once = (
            getattr(s, table)
            for s in (
                schedule,
                shifted(schedule, 1),
                shifted(shifted(schedule, 2), 3),
                shifted(schedule, 6),
            )
        )
        torch.testing.assert_close(none, plain, rtol=1e-14, atol=0)
        torch.testing.assert_close(twice, once, rtol=1e-14, atol=0)


@pytest.mark.parametrize("factor", [0, -1, float("nan")])
def test_a_shift_that_is_not_above_0_is_refused(factor: float) -> None:
    with pytest.raises(mz.UserError, match=rf"^`shift` is {factor:g}: choose a factor above 0.*$"):
        shifted(linear(10), factor)


@pytest.mark.parametrize("name", MADE)
def test_a_table_to_noise_keeps_its_first_row_and_its_shape(name: str) -> None:
    before, after = MADE[name].alpha, ENDING_IN_NOISE[f"{name} to noise"].alpha
    assert after[-1] == 0
    torch.testing.assert_close(after[:2], before[:2], rtol=1e-14, atol=0)
    ratio = after[1:].diff() / before[1:].diff()  # shifted and scaled: a straight line of before
    torch.testing.assert_close(ratio, ratio[:1].expand(999), rtol=1e-9, atol=0)


@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (linear, {"beta_schedule": "linear"}),
        (
            scaled_linear,
            {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
        ),
        (cosine, {"beta_schedule": "squaredcos_cap_v2"}),
    ],
)
def test_schedules_equal_diffusers(
    ours: Callable[[int], Schedule], theirs: dict, rescale: bool
) -> None:
    table = DDIMScheduler(1000, rescale_betas_zero_snr=rescale, **theirs).alphas_cumprod.double()
    schedule = zero_terminal_snr(ours(1000)) if rescale else ours(1000)
    # Theirs is a float32 product; near a last row of 0 it keeps fewer digits.
    torch.testing.assert_close(bar(schedule), table, rtol=1e-3 if rescale else 1e-4, atol=1e-9)


@pytest.mark.parametrize(
    "build",
    [
        lambda: mz.laplace(1000, 0, -1),
        lambda: mz.exponential(10, 80, 0.01),
        lambda: linear(10, -1, 3),
        lambda: mz.zero_terminal_snr(linear(1)),
    ],
)
def test_a_table_whose_noise_does_not_grow_is_refused(build: Callable[[], Schedule]) -> None:
    with pytest.raises(mz.UserError, match="must grow at every timestep"):
        build()


def test_a_negative_alpha_is_refused() -> None:
    angles = torch.linspace(0, 2, 11, dtype=torch.float64)
    with pytest.raises(mz.UserError, match="alpha of a schedule is below 0: choose values from 1"):
        Schedule(angles.cos(), angles.sin())


@pytest.mark.parametrize("T", [0, -1, True])
@pytest.mark.parametrize("make", SCHEDULES.values(), ids=SCHEDULES)
def test_a_schedule_without_rows_is_refused(make: Callable[..., Schedule], T: int) -> None:
    with pytest.raises(
        mz.UserError, match=rf"^`T` is {T}: .* a whole number of timesteps, 1 or more$"
    ):
        make(T)


@pytest.mark.parametrize("factor", [0, -1, math.inf, math.nan])
def test_a_shift_is_a_factor_above_0(factor: float) -> None:
    with pytest.raises(mz.UserError, match="choose a factor above 0"):
        mz.shifted(linear(10), factor)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: mz.exponential(10, 0, 80), "`lo` is 0: choose a number above 0"),
        (lambda: mz.scaled_linear(10, -1, 0.1), "`lo` is -1: choose a number above 0"),
        (lambda: mz.sigmoid(10, tau=0), "`tau` is 0: choose a number above 0"),
        (lambda: mz.cosine(10, s=-1), "`s` is -1: choose 0 or more"),
        (lambda: mz.linear(10.0), "`T` is 10.0: choose a whole number of timesteps"),
    ],
)
def test_numbers_that_no_schedule_has_are_refused_by_name(build, message: str) -> None:
    with pytest.raises(mz.UserError) as wrong:
        build()
    assert str(wrong.value).startswith(message)


LINEAR = linear(10)


@pytest.mark.parametrize(
    ("alpha", "sigma", "message"),
    [
        (LINEAR.alpha.float(), LINEAR.sigma, "`alpha` of a schedule must be a float64 tensor"),
        (LINEAR.alpha, LINEAR.sigma.tolist(), "`sigma` of a schedule must be a float64 tensor"),
        (LINEAR.alpha, LINEAR.sigma[:-1], "`alpha` has the shape (11,), `sigma` (10,): give both"),
        (LINEAR.alpha[:1], LINEAR.sigma[:1], "`alpha` has the shape (1,), `sigma` (1,): give both"),
        (LINEAR.alpha[None], LINEAR.sigma[None], "`alpha` has the shape (1, 11)"),
        (LINEAR.alpha[1:], LINEAR.sigma[1:], "a schedule must begin without noise"),
        (LINEAR.alpha.flip(0), LINEAR.sigma.flip(0), "the noise of a schedule must grow"),
        (LINEAR.alpha, LINEAR.sigma * 2, "alpha**2 + sigma**2 of a schedule must be 1"),
    ],
)
def test_tables_that_are_no_schedule_are_refused(alpha, sigma, message: str) -> None:
    with pytest.raises(mz.UserError) as wrong:
        mz.Schedule(alpha, sigma)
    assert str(wrong.value).startswith(message)
