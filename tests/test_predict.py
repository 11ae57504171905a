from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mezzotint as mz
from mezzotint.noise import Level
from mezzotint.predict import PREDICTIONS, denoiser, target, to_eps, to_x0

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
