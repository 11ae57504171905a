"""Every deterministic method converges to the probability flow at its declared order.

The data are mixtures of Gaussians, whose flow is known to 1e-11. Steps are equal in lambda. The
first step of a multistep method is DDIM's, because it has no past; this one step has second order.
With equal steps h it leaves an error of h^2 in a method of any order. With a first step of h^1.5 it
leaves h^3, as the following step of third order does, and the method's own order becomes visible.
UniPC corrects its first steps, which then leave h^4.5 and h^4. That is enough for its order 4.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

import mezzotint as mz
from mezzotint.diffusion.samplers.step import mean, moments

from oracles import Mixture, along, at

SCHEDULES = {"linear": mz.linear(1000), "cosine": mz.cosine(1000)}
METHODS = [
    *[(name, {}, s.order) for name, s in mz.SAMPLERS.items() if not s.stochastic],
    ("hybrid", {"switch": 0.0}, mz.SAMPLERS["dpmpp_2m"].order),
    ("edm", {"churn": 0.0}, mz.SAMPLERS["edm"].order),
    # unipc's and deis's other orders: as they are, unipc is of order 2 with bh2, deis of order 3
    *[("unipc", {"order": p, "corrector": b}, p + 1) for p in (1, 3) for b in ("bh1", "bh2")],
    ("unipc", {"order": 2, "corrector": "bh1"}, 3),
    ("deis", {"order": 2}, 2),
]
WITHOUT_NOISE = [
    ("ddim", {"eta": 0.5}, 0.5),
    ("ddim", {"eta": 1.0}, 1.0),
    ("ddpm", {"variance": "small"}, 1.0),
    ("ddpm", {"variance": "large"}, 1.0),
    ("dpmpp_2m_sde", {}, 1.0),
    ("dpmpp_3m_sde", {}, 1.0),
]
CASES = [(2, -2.0, 1.5), (5, -2.0, 1.5), (5, -1.0, 2.5), (16, -2.0, 1.5)]  # dimensions, lambdas


@cache
def reference(dims: int, lo: float, hi: float, eta: float = 0.0) -> tuple[Mixture, Tensor, Tensor]:
    """Return a mixture, points x at lambda lo, and the points at hi to which they flow."""
    data = Mixture.random(dims)
    x = data.draw(16, at(lo), torch.Generator().manual_seed(1))
    return data, x, data.flow(x, lo, hi, eta)


def error(got: Tensor, wanted: Tensor) -> float:
    return float((got - wanted).square().mean().sqrt())


def order(
    name: str,
    options: dict,
    case: tuple[int, float, float],
    counts: tuple[int, ...] = (128, 256, 512),
    first: float = 1.5,
    eta: float = 0.0,
) -> float:
    """Return the slope of ln(error) over ln(h), where the first step has the length ``h^first``."""
    data, x, wanted = reference(*case, eta)
    lo, hi = case[1:]
    errors, lengths = [], [(hi - lo) / n for n in counts]
    for n, h in zip(counts, lengths, strict=True):
        grid = along(sorted({*np.linspace(lo, hi, n + 1)[2:], lo, lo + h, lo + h**first}))
        got = mz.SAMPLERS[name](data.denoise, x, grid, randn=torch.zeros_like, **options)
        errors.append(error(got, wanted))
    assert min(errors) > 5e-11  # the reference is good to 1e-11
    return float(np.polyfit(np.log(lengths), np.log(errors), 1)[0])


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize(("name", "options", "declared"), METHODS, ids=str)
def test_a_method_converges_at_the_order_it_declares(
    name: str, options: dict, declared: int, case: tuple[int, float, float]
) -> None:
    assert order(name, options, case) == pytest.approx(declared, abs=0.2)


@pytest.mark.parametrize("name", ["dpmpp_3m", "deis"])
def test_from_a_cold_start_a_method_of_third_order_ends_up_at_second(name: str) -> None:
    """Its first step is DDIM's, whose error h^2 dominates for small h."""
    cold = order(name, {}, CASES[1], counts=(256, 512, 1024), first=1)
    assert cold == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("case", CASES[:3:2], ids=str)
@pytest.mark.parametrize(("name", "options", "eta"), WITHOUT_NOISE, ids=str)
def test_a_stochastic_method_without_its_noise_converges_at_the_order_it_declares(
    name: str, options: dict, eta: float, case: tuple[int, float, float]
) -> None:
    """Sampler.order is the order as the noise goes to 0. Here it is 0."""
    declared = mz.SAMPLERS[name].order
    assert order(name, options, case, eta=eta) == pytest.approx(declared, abs=0.2)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_on_a_schedule_more_steps_are_nearer_the_flow_and_so_is_a_higher_order(
    schedule: str,
) -> None:
    data = Mixture.random(5)
    grids = [SCHEDULES[schedule].grid(n, spacing="logsnr") for n in (10, 20, 50)]
    start = grids[0][0]
    x = data.draw(64, start, torch.Generator().manual_seed(1))
    wanted = data.flow(x, start.lam, 9.0)  # from there on nothing moves by more than 1e-7

    at_50: dict[int, list[float]] = {}
    for name, options, declared in METHODS:
        errors = [error(mz.SAMPLERS[name](data.denoise, x, g, **options), wanted) for g in grids]
        assert errors == sorted(errors, reverse=True), (name, options)
        at_50.setdefault(declared, []).append(errors[-1])
    assert all(max(at_50[p + 1]) < min(at_50[p]) for p in (1, 2, 3))


@pytest.mark.parametrize("h", [-7.0, -1.0, -0.01, 0.01, 0.3, 1.0, 7.0, 40.0])
def test_moments_are_the_means_under_the_exponential_density(h: float) -> None:
    theta, w = np.polynomial.legendre.leggauss(200)
    theta, w = (theta + 1) / 2, w / 2
    w = w * np.exp(h * theta - max(h, 0))
    wanted = [float(w @ theta**k / w.sum()) for k in range(4)]
    # by parts, m_k loses as much as (1 / h)^k in digits, and has weights of h^k in the steps
    assert moments(h, 4) == pytest.approx(wanted, abs=1e-14 * max(1, 1 / abs(h)) ** 4)


@pytest.mark.parametrize("nodes", [[0.0], [0.0, 1.0], [0.0, -0.7, -3.0], [1.0, 0.0, -1.0, -1.5]])
def test_the_mean_is_exact_for_the_polynomials_that_the_values_determine(
    nodes: list[float],
) -> None:
    draw = torch.Generator().manual_seed(0)
    of_theta = torch.randn(len(nodes), generator=draw, dtype=torch.float64)  # any moments at all
    powers = torch.randn(len(nodes), 3, generator=draw, dtype=torch.float64)
    values = [sum((p * node**k for k, p in enumerate(powers)), torch.zeros(3)) for node in nodes]
    torch.testing.assert_close(
        mean([*zip(nodes, values, strict=True)], 0.0, 1.0, of_theta.tolist()), of_theta @ powers
    )


@pytest.mark.parametrize("case", [CASES[0], CASES[-1]], ids=str)
def test_the_reference_flow_is_good_to_eleven_digits(case: tuple[int, float, float]) -> None:
    data, x, wanted = reference(*case)
    assert float((data.flow(x, *case[1:], steps=3000) - wanted).abs().max()) < 1e-11


@pytest.mark.parametrize("dims", [2, 5, 16])
@pytest.mark.parametrize("lam", [-3.0, 0.0, 3.0])
def test_the_reference_denoiser_follows_from_the_density(dims: int, lam: float) -> None:
    """Tweedie's formula: ``alpha E[x0 | x] = x + sigma^2 grad log p(x)``."""
    data, level = Mixture.random(dims), at(lam)
    x = data.draw(32, level, torch.Generator().manual_seed(0)).requires_grad_()
    (score,) = torch.autograd.grad(data.log_density(x, level).sum(), x)
    wanted = (x + level.sigma**2 * score) / level.alpha
    torch.testing.assert_close(data.denoise(x, level), wanted, rtol=1e-10, atol=1e-10)
