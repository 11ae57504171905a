from __future__ import annotations

import pytest
import torch

import mezzotint as mz
from mezzotint.guidance import clip, guide_pair
from mezzotint.noise import Level
from mezzotint.predict import PREDICTIONS, target, to_x0

LEVEL = Level(400, 0.8, 0.6)


@pytest.mark.parametrize("kind", PREDICTIONS)
def test_guidance_commutes_with_the_prediction_type(kind: str) -> None:
    x, out_c, out_u = torch.randn(3, 4, 8, dtype=torch.float64)
    guided_output = out_u + 3.0 * (out_c - out_u)
    guided = mz.guide(
        lambda x, level: to_x0(kind, out_c, x, level),
        lambda x, level: to_x0(kind, out_u, x, level),
        scale=3.0,
    )
    torch.testing.assert_close(guided(x, LEVEL), to_x0(kind, guided_output, x, LEVEL))


def test_scale_1_is_conditional_and_0_unconditional_each_in_one_call() -> None:
    def fail(x, level):
        raise AssertionError("called for nothing")

    def one(x, level):
        return x + 1

    x = torch.zeros(2)
    assert mz.guide(one, fail, scale=1)(x, LEVEL).tolist() == [1, 1]
    assert mz.guide(fail, one, scale=0)(x, LEVEL).tolist() == [1, 1]


def test_a_doubled_batch_gives_what_two_calls_give() -> None:
    x = torch.randn(4, 8)
    shift = torch.tensor([1.0] * 4 + [-1.0] * 4)[:, None]
    pair = guide_pair(lambda both, level: both * 2 + shift, 2.5)
    two = mz.guide(lambda x, level: x * 2 + 1, lambda x, level: x * 2 - 1, 2.5)
    torch.testing.assert_close(pair(x, LEVEL), two(x, LEVEL))


def test_clipping_comes_after_guidance() -> None:
    guided = mz.guide(lambda x, level: x * 0 + 3.0, lambda x, level: x * 0 + 2.5, scale=2.0)
    assert clip(guided)(torch.zeros(1), LEVEL).item() == 1.0
    # Clipped first, the two would be equal, and guidance would say nothing.
    assert guided(torch.zeros(1), LEVEL).item() == 3.5


def test_target_is_affine_with_weights_that_sum_to_one() -> None:
    eps, a, b = torch.randn(3, 8, dtype=torch.float64)
    for kind in PREDICTIONS:
        mixed = target(kind, b + 4 * (a - b), eps, LEVEL)
        each = [target(kind, x0, eps, LEVEL) for x0 in (a, b)]
        torch.testing.assert_close(mixed, each[1] + 4 * (each[0] - each[1]))
