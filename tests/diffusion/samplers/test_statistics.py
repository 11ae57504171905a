"""Every stochastic method ends at the exact marginal; noise that is 5 % too strong would show.

Exact samples of a mixture at lambda -1 are carried to lambda 1. That level is still noisy (sigma
0.35), and most of its noise was drawn on the way. At the clean end, the denoiser would hide wrong
noise.

The test uses N = 10,000 samples x with D = 8 dimensions. For each x it computes 2 D + 1 numbers
whose means over the marginal p are known: its D coordinates along fixed orthogonal directions,
their D squares about the mean, and ``laplacian(p) / p``. The last has the mean 0, and depends on
the spread within the components, where the noise is. If the samples are exact, ``z = sqrt(N) *
(mean - exact) / (standard deviation)`` is N(0, 1) for each number. The test fails if any |z|
exceeds 4.2, which has the probability 5e-4 for all 17 together (Bonferroni). There are so many
steps that a method's own bias moves z by at most about 1. Over ten seeds the largest |z| was 1.0 to
3.4. With the noise times 1.05 it was 7.0 to 19.9.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

import mezzotint as mz
from mezzotint.diffusion.level import Level
from mezzotint.diffusion.samplers.step import tau

from oracles import Gaussian, Mixture, affine, along, at, drawn

DATA = Mixture.random(dims=8, parts=3)
N, THRESHOLD = 10_000, 4.2
METHODS = [
    ("ddpm", {"variance": "small"}, 200),
    ("ddpm", {"variance": "large"}, 200),
    ("ddim", {"eta": 1.0}, 200),
    ("ddim", {"eta": 0.5}, 200),
    # As much churn as renews the noise several times over, at every level.
    ("edm", {"churn": 4.0, "low": 0.0, "high": 99.0, "inflate": 1.0}, 50),
    ("dpmpp_2m_sde", {}, 50),
    ("dpmpp_3m_sde", {}, 50),
    # Switched at lambda 0.5: the flow from there on carries on what the noise before it was.
    ("hybrid", {"switch": 0.75}, 200),
]


def largest_z(x: Tensor, level: Level) -> float:
    """Return the largest |z| of the test that the module describes."""
    draw = torch.Generator().manual_seed(0)
    u, _ = torch.linalg.qr(torch.randn(x.shape[1], x.shape[1], generator=draw, dtype=x.dtype))
    logs, apart, v = DATA.parts(x, level)
    mean = level.alpha * DATA.weight @ DATA.mean
    about = (level.alpha * DATA.mean - mean) @ u
    square = DATA.weight @ (about.square() + v[:, None])
    laplacian = apart / v**2 - x.shape[1] / v  # of each part, over the part
    of_x = torch.column_stack(
        [
            (x - mean) @ u,
            ((x - mean) @ u).square() - square,
            (logs.softmax(1) * laplacian).sum(1),
        ]
    )
    return float((math.sqrt(len(x)) * of_x.mean(0) / of_x.std(0)).abs().max())


def ends(name: str, options: dict, steps: int, scale: float, seed: int = 0) -> float:
    """Return the largest |z| of exact samples after a sampler has carried them to lambda 1."""
    grid = along(np.linspace(-1, 1, steps + 1).tolist())
    x = DATA.draw(N, grid[0], torch.Generator().manual_seed(seed))
    x = mz.SAMPLERS[name](DATA.denoise, x, grid, randn=drawn(1000 + seed, scale), **options)
    return largest_z(x, grid[-1])


@pytest.mark.parametrize(("name", "options", "steps"), METHODS, ids=str)
def test_a_stochastic_method_keeps_the_marginal(name: str, options: dict, steps: int) -> None:
    assert ends(name, options, steps, scale=1.0) < THRESHOLD


@pytest.mark.parametrize(("name", "options", "steps"), METHODS, ids=str)
def test_noise_that_is_five_percent_too_strong_is_seen(
    name: str, options: dict, steps: int
) -> None:
    assert ends(name, options, steps, scale=1.05) > THRESHOLD


def test_every_stochastic_method_is_tested_here() -> None:
    every = mz.SAMPLERS.items()
    stochastic = {name for name, s in every if s.stochastic and not s.few_step}
    assert stochastic <= {name for name, *_ in METHODS}


def test_exact_samples_pass_and_those_of_another_level_do_not() -> None:
    x = DATA.draw(N, at(1.0), torch.Generator().manual_seed(0))
    assert largest_z(x, at(1.0)) < THRESHOLD < largest_z(x, at(0.9))


@pytest.mark.parametrize(("v", "name"), [(0.0, "small"), (1.0, "large")])
def test_the_learned_variance_has_the_fixed_ones_at_its_ends(v: float, name: str) -> None:
    grid = mz.linear(1000).grid(10)
    x = torch.randn(4, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    fixed, learned = (
        mz.SAMPLERS["ddpm"](DATA.denoise, x, grid, variance=variance, randn=drawn(1))
        for variance in (name, lambda x, _: torch.full_like(x, v))
    )
    torch.testing.assert_close(learned, fixed, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("var", [0.05, 0.4, 0.9])
@pytest.mark.parametrize("steps", [3, 5, 10])
def test_the_right_variance_is_exact_over_few_steps_and_neither_fixed_one_is(
    var: float, steps: int
) -> None:
    """On Gaussian data, ``var(x_s | x_t) = sigma_s^2 tau + (alpha_s tau)^2 var(x0 | x_t)``.

    The first term is the small variance, and the second is what the small variance leaves out. The
    right v sets n to their sum.
    """
    data = Gaussian(mean=0.3, var=var)
    grid = mz.linear(1000).grid(steps, spacing="trailing")[:-1]

    def v(t: Level, s: Level) -> float:
        k, left = tau(t, s), var * t.sigma**2 / data.marginal(t)[1]
        return math.log1p(s.alpha**2 * k * left / s.sigma**2) / math.log(t.sigma**2 / s.sigma**2)

    def at_the_end(variance: str) -> float:
        """Return the variance at the grid's end, divided by the exact variance."""
        mean, spread = data.marginal(grid[0])
        for t, s in pairwise(grid):
            right = v(t, s)
            assert 0 < right < 1
            choice = {"right": lambda x, _, v=right: torch.full_like(x, v)}.get(variance, variance)
            a, b, n = affine("ddpm", {"variance": choice}, data.denoise, [t, s])
            mean, spread = a * mean + b, a**2 * spread + n**2
        assert mean == pytest.approx(data.marginal(grid[-1])[0])
        return spread / data.marginal(grid[-1])[1]

    assert at_the_end("right") == pytest.approx(1, abs=1e-9)
    assert at_the_end("small") < 0.98 < 1.02 < at_the_end("large")
