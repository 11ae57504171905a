"""The training objectives against the papers' formulas in SNR and betas."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from mezzotint import UserError, linear
from mezzotint.config.sections import NoiseConfig
from mezzotint.diffusion.level import Level, Schedule
from mezzotint.diffusion.prediction import PREDICTIONS, target, to_fraction, to_x0
from mezzotint.trainer.loop import Examples, TrainConfig, optimizer
from mezzotint.trainer.objective import (
    WEIGHTINGS,
    Diffusion,
    ObjectiveConfig,
    Uncertainty,
    log_likelihood,
    variational,
    weight,
)

T = 1000
SCHEDULE = linear(T)
ROWS = torch.tensor([1, 2, 10, 100, 400, 700, 1000])
BETA = torch.linspace(1e-4, 0.02, T, dtype=torch.float64)
ALPHA_BAR = (1 - BETA).cumprod(0)
SNR = (ALPHA_BAR / (1 - ALPHA_BAR))[ROWS - 1]
NOISE = Level(torch.tensor([999.0]), torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1))


def diffusion(
    schedule: Schedule = SCHEDULE,
    prediction: str = "v",
    learn_variance: bool = False,
    **fields: Any,
) -> Diffusion:
    config = ObjectiveConfig(**fields)
    return Diffusion(config, schedule, prediction, (1, 8, 8), learn_variance=learn_variance)


# Each as its paper writes it, before the loss of the prediction it is written for.
@pytest.mark.parametrize(
    ("kind", "prediction", "wanted"),
    [
        ("min_snr", "x0", SNR.clamp(max=5)),
        ("min_snr", "eps", SNR.clamp(max=5) / SNR),
        ("min_snr", "v", SNR.clamp(max=5) / (SNR + 1)),
        ("p2", "eps", 1 / (1 + SNR)),
        ("sigmoid", "eps", torch.sigmoid(-1 - SNR.log())),
        ("sigmoid", "x0", math.exp(-1) * torch.sigmoid(SNR.log() + 1)),
        ("simple", "flow", torch.ones_like(SNR)),
        ("learned", "v", torch.ones_like(SNR)),
    ],
)
def test_weights_are_the_papers(kind: str, prediction: str, wanted: Tensor) -> None:
    ours = weight(kind, prediction, SCHEDULE.levels(ROWS))
    assert ours.shape == (7,)
    torch.testing.assert_close(ours.double(), wanted, rtol=1e-4, atol=0)


@pytest.mark.parametrize("kind", ["min_snr", "p2", "sigmoid"])
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_weighted_loss_is_the_same_whatever_is_predicted(kind: str, prediction: str) -> None:
    """All prediction types have the loss of the same x0_hat."""
    x0, eps, wrong = torch.randn(3, 7, 1, 8, 8)
    level = Level(
        *(v.double() for v in vars(SCHEDULE.levels(ROWS)).values())  # cancellation left aside
    )
    x = level.alpha * x0 + level.sigma * eps
    x0_hat = x0 + 0.1 * wrong
    output = target(prediction, x0_hat, (x - level.alpha * x0_hat) / level.sigma, level)
    errors = ((output - target(prediction, x0, eps, level)) ** 2).flatten(1).mean(1)
    x0_errors = ((x0_hat - x0) ** 2).flatten(1).mean(1)
    ours = weight(kind, prediction, level) * errors
    torch.testing.assert_close(ours, weight(kind, "x0", level) * x0_errors, rtol=1e-5, atol=0)


def test_the_plain_loss_of_edm_has_edms_weight() -> None:
    """EDM's lambda = 1 / c_out^2, with sigma_hat = sqrt(1 / SNR), equals w_x0 of "simple"."""
    sigma, data = (1 / SNR).sqrt(), 0.5
    lam = (sigma**2 + data**2) / (sigma * data) ** 2
    x0_weight = weight("simple", "edm", SCHEDULE.levels(ROWS)).double() * lam
    x0, eps, output = torch.randn(3, 7, 1, 8, 8)
    level = SCHEDULE.levels(ROWS)
    x0_hat = to_x0("edm", output, level.alpha * x0 + level.sigma * eps, level)
    x0_errors = ((x0_hat - x0).double() ** 2).flatten(1).mean(1)
    errors = ((output - target("edm", x0, eps, level)).double() ** 2).flatten(1).mean(1)
    torch.testing.assert_close(x0_weight * x0_errors, errors, rtol=1e-3, atol=0)


@pytest.mark.parametrize("kind", WEIGHTINGS)
@pytest.mark.parametrize("prediction", ["x0", "v", "flow", "edm"])
def test_pure_noise_has_a_finite_weight(kind: str, prediction: str) -> None:
    ours = weight(kind, prediction, NOISE)
    assert ours.item() == (1 if kind in ("simple", "learned") else 0)


def test_unknown_names_are_refused_in_one_line() -> None:
    with pytest.raises(UserError, match="choose one of simple, min_snr, p2, sigmoid, learned"):
        weight("snr", "eps", NOISE)
    for field in ({"weighting": "snr"}, {"levels": "some"}):
        with pytest.raises(UserError) as error:
            ObjectiveConfig(**field)
        problem = str(error.value)
        assert next(iter(field)) in problem
        assert "\n" not in problem
    with pytest.raises(UserError, match="`learn_variance` needs at least 2 `timesteps`"):
        NoiseConfig(timesteps=1, learn_variance=True)


def test_a_weighting_of_another_shape_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WEIGHTINGS, "wide", lambda snr: snr[:, None])
    level = Level(torch.zeros(4), torch.full((4,), 0.6), torch.full((4,), 0.8))
    with pytest.raises(UserError, match=r"'wide' returns the shape \(4, 1\): make it return"):
        weight("wide", "eps", level)


def test_the_configs_names_are_those_that_there_are() -> None:
    for kind in WEIGHTINGS:
        assert ObjectiveConfig(weighting=kind).weighting == kind
    assert diffusion().plain
    assert not diffusion().state_dict()


def test_uncertainty_becomes_the_log_of_the_mean_loss() -> None:
    before = torch.get_rng_state()
    uncertainty = Uncertainty()
    assert torch.equal(torch.get_rng_state(), before)  # or a run's weights would depend on it
    draw = torch.Generator().manual_seed(0)
    rows = torch.randint(1, T + 1, (4096,), generator=draw)
    level = SCHEDULE.levels(rows)
    assert (uncertainty(level) == 0).all()

    def expected(level: Level[Tensor]) -> Tensor:
        return 0.01 + level.alpha.flatten() ** 2  # a factor of 100 from end to end

    steps = torch.optim.Adam(uncertainty.parameters(), lr=3e-3)
    for _ in range(500):
        z = torch.randn(len(rows), 16, generator=draw)
        losses = expected(level) * (z**2).mean(1)
        u = uncertainty(level)
        (losses / u.exp() + u).mean().backward()
        steps.step()
        steps.zero_grad()
    level = SCHEDULE.levels(torch.arange(1, T + 1))
    u = uncertainty(level)
    assert ((u - expected(level).log()).abs() < 0.2).float().mean() > 0.95
    assert (u.exp() / expected(level)).log().abs().mean() < 0.05


def test_uncertainty_is_finite_at_pure_noise() -> None:
    uncertainty = Uncertainty()
    torch.nn.init.ones_(uncertainty.weight)
    u = uncertainty(NOISE)
    u.sum().backward()
    assert torch.isfinite(u).all()
    assert torch.isfinite(uncertainty.weight.grad).all()


def test_what_is_learned_beside_does_not_decay() -> None:
    config = TrainConfig(weight_decay=0.5)
    task = diffusion(weighting="learned")
    groups = optimizer(torch.nn.Linear(2, 2), config, task).param_groups
    assert [g["weight_decay"] for g in groups] == [0.5, 0.0]
    assert [p.shape for p in groups[1]["params"]] == [(128,)]


def pictures(n: int, seed: int = 0) -> Tensor:
    """Return images of 8-bit values, which include 0 and 255."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 1, 8, 8), generator=draw) / 127.5 - 1


def test_the_bound_is_the_papers_in_betas() -> None:
    """Ho et al. 2020, eqs. 6 and 7; Nichol and Dhariwal 2021, eq. 15."""
    rows = ROWS[1:]
    x0, v = pictures(6).double(), torch.rand(6, 1, 8, 8, dtype=torch.float64)
    eps, off = torch.randn(2, 6, 1, 8, 8, dtype=torch.float64)
    x0_hat = x0 + 0.05 * off
    beta, now, last = (
        table.view(-1, 1, 1, 1)
        for table in (BETA[rows - 1], ALPHA_BAR[rows - 1], ALPHA_BAR[rows - 2])
    )
    x = now.sqrt() * x0 + (1 - now).sqrt() * eps

    def mean(x0: Tensor) -> Tensor:
        return (last.sqrt() * beta * x0 + (1 - beta).sqrt() * (1 - last) * x) / (1 - now)

    posterior = beta * (1 - last) / (1 - now)
    model = (v * beta.log() + (1 - v) * posterior.log()).exp()
    wanted = kl_divergence(Normal(mean(x0), posterior.sqrt()), Normal(mean(x0_hat), model.sqrt()))
    ours = variational(SCHEDULE, rows, x0, x0_hat, v)
    torch.testing.assert_close(ours, wanted.flatten(1).mean(1) / math.log(2), rtol=1e-5, atol=0)
    narrow = variational(SCHEDULE, rows, x0.float(), x0_hat.float(), v.float())
    torch.testing.assert_close(narrow.double(), ours, rtol=1e-3, atol=1e-8)


def test_the_true_posterior_costs_nothing_and_another_something() -> None:
    rows, x0 = torch.arange(2, T + 1, 7), pictures(143).double()
    none = variational(SCHEDULE, rows, x0, x0, torch.zeros_like(x0))
    assert (none == 0).all()
    assert (variational(SCHEDULE, rows, x0, x0, torch.full_like(x0, 0.5)) > 0).all()
    assert (variational(SCHEDULE, rows, x0, 0.9 * x0, torch.zeros_like(x0)) > 0).all()


@pytest.mark.parametrize("std", [1e-3, 3e-3, 0.02, 0.5, 10.0])
@pytest.mark.parametrize("mean", [-1.5, -1.0, -0.3, 0.0, 0.5, 1.0])
def test_the_256_values_have_probability_one(mean: float, std: float) -> None:
    values = torch.arange(256).double() / 127.5 - 1
    logs = log_likelihood(values, torch.tensor(mean).double(), 2 * torch.tensor(std).double().log())
    assert logs.exp().sum().item() == pytest.approx(1, abs=1e-9)


def test_a_hopeless_value_has_a_finite_likelihood_and_gradient() -> None:
    log_variance = torch.full((4,), -10.0, requires_grad=True)
    x0, mean = torch.tensor([1.0, 1.0, -1.0, 0.0039]), torch.tensor([-1.0, 3.0, 1.0, -40.0])
    logs = log_likelihood(x0, mean, log_variance)
    logs.sum().backward()
    assert torch.isfinite(logs).all()
    assert torch.isfinite(log_variance.grad).all()


def test_row_one_is_the_likelihood_with_row_twos_variance_for_a_bound() -> None:
    x0 = pictures(4)
    x0_hat, v = x0 + 0.01 * torch.randn(4, 1, 8, 8), torch.rand(4, 1, 8, 8)
    low = BETA[1] * (1 - ALPHA_BAR[0]) / (1 - ALPHA_BAR[1])
    std = (v * BETA[0].log() + (1 - v) * low.log()).mul(0.5).exp()
    gauss = Normal(x0_hat.double(), std)
    upper = torch.where(x0 > 0.999, 1.0, gauss.cdf(x0.double() + 1 / 255))
    lower = torch.where(x0 < -0.999, 0.0, gauss.cdf(x0.double() - 1 / 255))
    wanted = -(upper - lower).log2().flatten(1).mean(1)
    ours = variational(SCHEDULE, torch.ones(4, dtype=torch.int64), x0, x0_hat, v)
    torch.testing.assert_close(ours.double(), wanted, rtol=1e-3, atol=0)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_only_the_variance_learns_of_the_bound(prediction: str) -> None:
    rows, x0 = ROWS, pictures(7)
    output, eps = torch.randn(2, 7, 1, 8, 8)
    level = SCHEDULE.levels(rows)
    output.requires_grad_()
    raw = torch.zeros_like(output, requires_grad=True)
    x0_hat = to_x0(prediction, output, level.alpha * x0 + level.sigma * eps, level)
    variational(SCHEDULE, rows, x0, x0_hat, to_fraction(raw)).sum().backward()
    assert output.grad is None
    assert torch.isfinite(raw.grad).all()
    assert (raw.grad != 0).any()


def test_the_hybrid_loss_is_the_papers_sum_over_all_rows() -> None:
    """L_simple + 0.001 (L_0 + ... + L_{T-1}); with each row once, the sum is exact."""
    schedule = linear(20, 1e-3, 0.3)
    rows = torch.arange(1, 21)
    x0, eps, output = pictures(20), *torch.randn(2, 20, 1, 8, 8)
    raw = torch.rand(20, 1, 8, 8) * 2 - 1
    hybrid = diffusion(schedule, "eps", learn_variance=True)
    loss, error = hybrid.compare(torch.cat([output, raw], 1), x0, eps, rows)
    simple, plain = diffusion(schedule, "eps").compare(output, x0, eps, rows)
    torch.testing.assert_close(error, plain)
    torch.testing.assert_close(simple, plain)
    level = schedule.levels(rows)
    x0_hat = to_x0("eps", output, level.alpha * x0 + level.sigma * eps, level)
    terms = variational(schedule, rows, x0, x0_hat, (raw + 1) / 2)
    torch.testing.assert_close(loss, plain + 0.001 * terms.sum())


def zero_terminal() -> Schedule:
    alpha = torch.linspace(1, 0, 11, dtype=torch.float64)
    return Schedule(alpha, (1 - alpha**2).sqrt())


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("prediction", ["x0", "v", "flow", "edm"])
def test_all_of_it_is_finite_where_the_schedule_ends_in_noise(weighting, prediction) -> None:
    schedule = zero_terminal()
    task = diffusion(schedule, prediction, True, weighting=weighting, levels="adaptive")
    x0, eps = pictures(10), torch.randn(10, 1, 8, 8)
    output = torch.randn(10, 2, 8, 8, requires_grad=True)
    rows = torch.arange(1, 11)
    loss, error = task.compare(output, x0, eps, rows)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(error)
    assert torch.isfinite(output.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in task.parameters())


def test_the_logged_error_is_plain_whatever_is_minimised() -> None:
    x0, eps, output = torch.randn(3, 7, 1, 8, 8)
    _, plain = diffusion().compare(output, x0, eps, ROWS)
    for kind in WEIGHTINGS:
        _, error = diffusion(weighting=kind).compare(output, x0, eps, ROWS)
        torch.testing.assert_close(error, plain)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_contrast_is_the_papers_loss(prediction: str) -> None:
    """Stoica et al. 2025, eq. 6, with the weight of the level on both terms."""
    level = SCHEDULE.levels(ROWS)
    x0, eps, output = torch.randn(3, 7, 1, 8, 8)
    task = diffusion(prediction=prediction, weighting="min_snr", contrast=0.05)
    loss, error = task.compare(output, x0, eps, ROWS)
    other = torch.tensor([6, 0, 1, 2, 3, 4, 5])
    near = (output - target(prediction, x0, eps, level)) ** 2
    far = (output - target(prediction, x0[other], eps[other], level)) ** 2
    w = weight("min_snr", prediction, level).view(-1, 1, 1, 1)
    torch.testing.assert_close(loss, (w * (near - 0.05 * far)).mean())
    torch.testing.assert_close(error, near.mean())


def test_learned_weights_do_not_learn_from_the_contrast() -> None:
    x0, eps, output = torch.randn(3, 7, 1, 8, 8)
    slopes = []
    for contrast in (0.0, 0.5):
        task = diffusion(weighting="learned", contrast=contrast)
        task.compare(output, x0, eps, ROWS)[0].backward()
        slopes.append(task.uncertainty.weight.grad)
    torch.testing.assert_close(*slopes)


def test_small_images_come_first() -> None:
    """They are means over 2x2 pixels, with noise of their own size."""
    config = ObjectiveConfig(small_first=0.5)
    task = Diffusion(config, SCHEDULE, "v", (1, 8, 8), small=8)
    x0, taken = torch.randn(4, 1, 8, 8), []

    def net(x: Tensor, t: Tensor, condition: None) -> Tensor:
        taken.append(x)
        return torch.zeros_like(x)

    for seen, side in ((0, 4), (7, 4), (8, 8)):
        drawn = task.draw(4, seen, torch.Generator().manual_seed(0))
        assert drawn[1].shape == (4, 1, side, side)
        loss, _ = task(net, Examples(x0), *drawn)
        clean = x0 if side == 8 else x0.view(4, 1, 4, 2, 4, 2).mean((3, 5))
        level = SCHEDULE.levels(drawn[0], 4)
        torch.testing.assert_close(taken[-1], level.alpha * clean + level.sigma * drawn[1])
        wanted = target("v", clean, drawn[1], level).square().mean()
        torch.testing.assert_close(loss, wanted)
