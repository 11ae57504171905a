"""The multistep consistency sampler with the exact consistency function."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

import mezzotint as mz
from flows import GAUSSIAN, TWO, Flow, angle_of

from oracles import drawn

SCHEDULE = mz.cosine(1000)


def made(data: Flow, steps: int, count: int, **options: float) -> Tensor:
    def f(x: Tensor, level: mz.Level) -> Tensor:
        return data.between(x, torch.tensor(angle_of(level)), torch.tensor(0.0))

    x = torch.randn(count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    grid = SCHEDULE.grid(steps, "angle")
    return mz.SAMPLERS["consistency"](f, x, grid, randn=drawn(1), **options)


@pytest.mark.parametrize("data", [GAUSSIAN, TWO], ids=["gaussian", "two"])
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_the_exact_function_gives_the_distribution_in_any_number_of_calls(
    data: Flow, steps: int
) -> None:
    """The Kolmogorov-Smirnov distance of N samples is below 1.95 / sqrt(N) in 99.9 %.

    The sampler starts at sigma / alpha = 80, where the noise is not quite that of the flow. This
    adds up to 0.005.
    """
    count = 20_000
    levels = data.cdf(made(data, steps, count), torch.tensor(0.0)).sort().values
    places = torch.arange(1, count + 1) / count
    assert float((levels - places).abs().max()) < 1.95 / count**0.5 + 0.005


def test_without_new_noise_the_marginals_are_not_kept() -> None:
    """So the sampler is stochastic: f is not the mean of x0, which DDIM's step needs."""
    spread = made(TWO, 4, 20_000, eta=0.0).std() / TWO.std
    assert abs(float(spread) - 1) > 0.02


@pytest.mark.parametrize("eta", [-0.1, 1.5])
def test_eta_outside_0_to_1_is_refused(eta: float) -> None:
    with pytest.raises(mz.UserError, match=r"`eta` is .*: choose 0 .deterministic. to 1"):
        made(GAUSSIAN, 2, 4, eta=eta)


@pytest.mark.parametrize("schedule", [mz.linear(1000), SCHEDULE], ids=["linear", "cosine"])
def test_the_spacing_angle_has_steps_of_equal_angle(schedule: mz.Schedule) -> None:
    for steps in (1, 2, 4, 32):
        angles = [angle_of(level) for level in schedule.grid(steps, "angle")]
        assert angles[0] == pytest.approx(min(np.arctan(80), float(schedule.angles[-1])))
        assert np.diff(angles) == pytest.approx(-angles[0] / steps)
