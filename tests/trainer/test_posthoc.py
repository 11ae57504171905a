"""Power-function averages and their combinations, against integrals and tracked averages."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from mezzotint import UserError
from mezzotint.trainer.posthoc import GAMMAS, begin, coefficients, decay, exponent, inner

Array = NDArray[np.float64]


def profile(tau: Array, t: float, gamma: float) -> Array:
    return np.where(tau <= t, (gamma + 1) / t * (tau / t) ** gamma, 0.0)


def integral(values: Array, tau: Array) -> float:
    return float(np.trapezoid(values, tau))


@pytest.mark.parametrize("length", [0.001, 0.05, 0.10, 0.2, 0.288])
def test_the_exponents_profile_has_the_relative_length(length: float) -> None:
    tau = np.linspace(0, 3, 2_000_001)
    p = profile(tau, 3, exponent(length))
    mean = integral(p * tau, tau)
    assert integral(p, tau) == pytest.approx(1, rel=1e-4)
    assert np.sqrt(integral(p * (tau - mean) ** 2, tau)) / 3 == pytest.approx(length, rel=1e-3)


def test_the_exponents_are_the_papers() -> None:
    """They are 6.94 and 16.97 in section 3.1."""
    assert list(GAMMAS.values()) == pytest.approx([16.97, 6.94], abs=0.005)


@pytest.mark.parametrize("length", [-0.1, 0.0, 0.289, 1.0, float("nan")])
def test_a_length_that_cannot_be_is_refused(length: float) -> None:
    with pytest.raises(UserError, match=r"choose a length above 0 and below 0\.289"):
        exponent(length)


@pytest.mark.parametrize(
    ("a", "b"), [((2, 1.5), (3, 7)), ((3, 7), (2, 1.5)), ((3, 7), (3, 17)), ((1, 0), (2, 0))]
)
def test_the_inner_product_is_the_integral(a: tuple[float, float], b: tuple[float, float]) -> None:
    tau = np.linspace(0, 3, 600_001)
    wanted = integral(profile(tau, *a) * profile(tau, *b), tau)
    assert float(inner(*a, *b)) == pytest.approx(wanted, rel=1e-4)


def test_the_running_average_is_the_profiles_integral_exactly() -> None:
    """The weights are theta_i for times within (i - 1, i]."""
    theta, edges = np.random.default_rng(0).normal(size=50), np.arange(51)
    gamma, mean = exponent(0.1), 0.0
    for step, now in enumerate(theta, 1):
        mean = decay(step, gamma) * mean + (1 - decay(step, gamma)) * now
    assert mean == pytest.approx(np.diff((edges / 50) ** (gamma + 1)) @ theta, rel=1e-12)


def test_the_networks_averages_follow_it_from_the_first_step_on() -> None:
    net = nn.Linear(1, 1, bias=False)
    averages = begin(net)
    wanted = dict.fromkeys(averages, 0.0)
    for step in range(1, 200):
        nn.init.constant_(net.weight, float(step % 7))
        for name, average in averages.items():
            average.update_parameters(net)
            d = decay(step, GAMMAS[name])
            wanted[name] = d * wanted[name] + (1 - d) * (step % 7)
    for name, average in averages.items():
        assert average.module.weight.item() == pytest.approx(wanted[name], rel=1e-5)


def walk(every: int, also: float, steps: int = 2000) -> tuple[Array, Array, Array, Array]:
    """Return snapshots of the two averages of a random walk, and of a third average.

    They are times, gammas and values.
    """
    exponents = np.array([*GAMMAS.values(), exponent(also)])
    theta = np.random.default_rng(0).normal(size=(steps, 1000)).cumsum(0)
    means, kept = np.zeros((3, 1000)), []
    for step, now in enumerate(theta, 1):
        d = np.array([decay(step, gamma) for gamma in exponents])[:, None]
        means = d * means + (1 - d) * now
        if step % every == 0:
            kept += [(step, exponents[i], means[i]) for i in (0, 1)]
    times, gammas, values = (np.array(column) for column in zip(*kept, strict=True))
    return times, gammas, values, means[2]


@pytest.mark.parametrize("length", [0.03, 0.075, 0.15, 0.2])
def test_an_average_rebuilt_is_near_the_one_tracked(length: float) -> None:
    times, gammas, values, tracked = walk(40, length)
    c, error = coefficients(times, gammas, 2000, exponent(length))
    assert error < 0.01
    assert np.linalg.norm(c @ values - tracked) < 0.01 * np.linalg.norm(tracked)


def test_one_that_was_kept_is_given_back() -> None:
    times, gammas, _, _ = walk(40, 0.1)
    c, error = coefficients(times, gammas, 2000, exponent(0.05))
    np.testing.assert_allclose(c, np.eye(100)[98], atol=1e-6)
    assert error < 1e-6


def test_the_error_is_that_of_the_profiles() -> None:
    times, gammas = np.array([1.0, 1.0, 2.0, 2.0]), np.array([*GAMMAS.values()] * 2)
    gamma, tau = exponent(0.2), np.linspace(0, 2, 400_001)
    c, error = coefficients(times, gammas, 2, gamma)
    wanted = profile(tau, 2, gamma)
    made = sum(k * profile(tau, t, g) for k, t, g in zip(c, times, gammas, strict=True))
    left = integral((made - wanted) ** 2, tau) / integral(wanted**2, tau)
    assert error == pytest.approx(left**0.5, rel=1e-3)
    assert error > 0.1


def test_two_snapshots_almost_at_once_are_not_subtracted() -> None:
    times = np.repeat([2e5, 4e5, 1e6, 1e6 + 1], 2)
    c, _ = coefficients(times, np.array([*GAMMAS.values()] * 4), 1e6 + 1, exponent(0.2))
    assert np.abs(c).sum() < 5


def test_an_update_draws_no_random_number() -> None:
    net = nn.Linear(2, 2)
    before = torch.get_rng_state()
    for average in begin(net).values():
        average.update_parameters(net)
    assert torch.equal(before, torch.get_rng_state())
