from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mezzotint as mz
from mezzotint.diffusion.level import Level
from mezzotint.diffusion.prediction import (
    PREDICTIONS,
    coefficients,
    denoiser,
    determinant,
    split_variance,
    target,
    to_eps,
    to_x0,
)

SCHEDULE = mz.cosine(1000)


@pytest.mark.parametrize("kind", PREDICTIONS)
@given(row=st.integers(1, 1000))
def test_the_perfect_output_gives_back_x0_and_eps(kind: str, row: int) -> None:
    level = Level(row - 1, float(SCHEDULE.alpha[row]), float(SCHEDULE.sigma[row]))
    x0, eps = torch.randn(2, 64, dtype=torch.float64, generator=torch.manual_seed(row))
    x = level.alpha * x0 + level.sigma * eps
    output = target(kind, x0, eps, level)
    torch.testing.assert_close(to_x0(kind, output, x, level), x0, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(to_eps(kind, output, x, level), eps, rtol=1e-6, atol=1e-6)


def test_v_and_flow_are_the_papers() -> None:
    level = Level(10, 0.8, 0.6)
    x0, eps = torch.randn(2, 8)
    torch.testing.assert_close(target("v", x0, eps, level), 0.8 * eps - 0.6 * x0)
    torch.testing.assert_close(target("flow", x0, eps, level), eps - x0)


@pytest.mark.parametrize("row", [1, 200, 500, 900, 1000])
def test_edm_is_the_papers_denoiser(row: int) -> None:
    """D = c_skip x_hat + c_out F, and the target of F: table 1 and eq. 8 of the paper."""
    level = Level(row - 1, float(SCHEDULE.alpha[row]), float(SCHEDULE.sigma[row]))
    x0, eps, F = torch.randn(3, 64, dtype=torch.float64)
    sigma, data = level.sigma / level.alpha, 0.5
    noisy = x0 + sigma * eps
    c_skip = data**2 / (sigma**2 + data**2)
    c_out = sigma * data / (sigma**2 + data**2) ** 0.5
    D = c_skip * noisy + c_out * F
    torch.testing.assert_close(to_x0("edm", F, level.alpha * noisy, level), D)
    wanted = target("edm", x0, eps, level)
    torch.testing.assert_close(wanted, (x0 - c_skip * noisy) / c_out, rtol=1e-6, atol=1e-6)
    plain, weighted = ((F - wanted) ** 2).mean(), ((D - x0) ** 2).mean() / c_out**2
    torch.testing.assert_close(plain, weighted, rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", PREDICTIONS)
def test_levels_of_tensors_say_what_levels_of_floats_say(kind: str) -> None:
    many = SCHEDULE.levels(torch.tensor([1, 700]), dims=1)
    for i, row in enumerate((1, 700)):
        one = Level(row - 1, float(SCHEDULE.alpha[row]), float(SCHEDULE.sigma[row]))
        for a, b in zip(coefficients(kind, one), coefficients(kind, many), strict=True):
            assert (b[i].item() if isinstance(b, torch.Tensor) else b) == pytest.approx(a, rel=1e-5)


@pytest.mark.parametrize("kind", ["x0", "v", "flow", "edm"])
def test_pure_noise_divides_by_nothing(kind: str) -> None:
    assert abs(determinant(kind, Level(999, 0.0, 1.0))) >= 1
    x0, eps = torch.randn(2, 8, dtype=torch.float64)
    output = target(kind, x0, eps, Level(999, 0.0, 1.0))
    assert torch.isfinite(to_x0(kind, output, eps, Level(999, 0.0, 1.0))).all()


def test_conversion_is_in_float32_whatever_the_network_computes_in() -> None:
    level = Level(999, 4.9e-5, 1.0)
    x, output = torch.randn(2, 8, dtype=torch.bfloat16)
    x0 = to_x0("eps", output, x, level)
    assert x0.dtype == torch.float32
    torch.testing.assert_close(x0, (x.float() - output.float()) / 4.9e-5)


def test_a_batch_of_levels_broadcasts() -> None:
    level = mz.linear(1000).levels(torch.tensor([1, 500, 1000]))
    assert level.t.tolist() == [0, 499, 999]
    x0, eps = torch.randn(2, 3, 2, 4, 4)
    x = level.alpha * x0 + level.sigma * eps
    torch.testing.assert_close(to_x0("v", target("v", x0, eps, level), x, level), x0)


def test_the_network_is_told_t_for_every_picture() -> None:
    told = []

    def net(x, t, labels):
        told.append((t.tolist(), labels))
        return x

    labels = torch.tensor([3, 4])
    denoiser(net, "x0", labels)(torch.zeros(2, 1), Level(41, 0.8, 0.6))
    assert told[0][0] == [41.0, 41.0]
    assert told[0][1] is labels


def test_an_unknown_type_names_the_known() -> None:
    with pytest.raises(mz.UserError, match="choose one of eps, x0, v, flow"):
        to_x0("score", torch.zeros(1), torch.zeros(1), Level(0, 0.8, 0.6))


def test_a_network_of_variances_is_split_into_prediction_and_fraction() -> None:
    def net(x, t, labels):
        return torch.cat([2 * x, t[:, None, None, None].expand_as(x)], dim=1)

    predict, fraction = split_variance(net)
    level = Level(0, 0.8, 0.6)
    x = torch.randn(2, 3, 4, 4)
    t = torch.tensor([-1.0, 0.0, 1.0, 1.0])
    assert torch.equal(predict(torch.cat([x, x]), t, None), torch.cat([2 * x, 2 * x]))
    v = fraction(x, level)  # of a doubled batch the first half, which is the conditional one
    assert v.shape == x.shape
    assert v[:, 0, 0, 0].tolist() == [0, 0.5]
    predict(x, torch.tensor([1.0, 1.0]), None)
    assert (fraction(x, level) == 1).all()


X, LEVEL = torch.zeros(2, 3, 4, 4), Level(41, 0.8, 0.6)


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (lambda x, t, labels: x[:, :1], "output has the shape (2, 1, 4, 4), expected (2, 3, 4, 4)"),
        (lambda x, t, labels: x.sum(), "output has the shape (), expected (2, 3, 4, 4)"),
        (lambda x, t, labels: (x, t), "the network returned a tuple, expected a tensor of x's"),
        (lambda x, t, labels: None, "the network returned a NoneType, expected a tensor"),
    ],
)
def test_a_network_whose_output_is_no_estimate_is_refused(net, message: str) -> None:
    with pytest.raises(mz.UserError) as wrong:
        mz.denoiser(net, "v")(X, LEVEL)
    assert message in str(wrong.value)
    assert "\n" not in str(wrong.value)


class WithoutLabels(torch.nn.Module):
    def forward(self, x, t):
        return x


class WithMore(torch.nn.Module):
    def forward(self, x, t, labels, mask):
        return x


@pytest.mark.parametrize("net", [WithoutLabels(), WithMore(), lambda x: x, lambda x, *, t: x])
def test_a_network_that_does_not_take_three_arguments_is_refused(net) -> None:
    with pytest.raises(mz.UserError, match=r"^`net` cannot be called as net\(x, t, labels\) \("):
        mz.denoiser(net, "v")


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(mz.UserError, match=r"^`net` is a str: give a callable"):
        mz.denoiser("unet", "v")


@pytest.mark.parametrize("net", [lambda x, t, labels=None: x, lambda *args: args[0], torch.add])
def test_whatever_can_be_called_so_is_a_network(net) -> None:
    mz.denoiser(net, "v")


def test_an_unknown_prediction_is_refused_before_any_call() -> None:
    with pytest.raises(mz.UserError) as wrong:
        mz.denoiser(lambda x, t, labels: x, "flw")
    expected = "unknown prediction 'flw': choose one of eps, x0, v, flow, edm; did you mean flow?"
    assert str(wrong.value) == expected


def test_eps_gives_no_estimate_at_pure_noise() -> None:
    denoise = mz.denoiser(lambda x, t, labels: x, "eps")
    with pytest.raises(mz.UserError, match="predicts eps cannot estimate the image at t = 999"):
        denoise(torch.randn(1, 3, 4, 4), mz.Level(999, 0.0, 1.0))


def test_there_is_a_label_an_image() -> None:
    denoise = mz.denoiser(lambda x, t, labels: x, "v", torch.tensor([1, 2, 3]))
    with pytest.raises(mz.UserError, match=r"^there are 3 `labels` for 2 images: give"):
        denoise(X, LEVEL)


@pytest.mark.parametrize("convert", [to_x0, to_eps])
def test_an_output_that_would_broadcast_is_refused(convert) -> None:
    with pytest.raises(mz.UserError, match="return a tensor in the shape of x"):
        convert("v", X[:, :1], X, LEVEL)


def test_a_denoiser_leaves_gradients_alone() -> None:
    net = torch.nn.Conv2d(3, 3, 1)
    mz.denoiser(lambda x, t, labels: net(x), "v")(X, LEVEL).sum().backward()
    assert net.weight.grad is not None
