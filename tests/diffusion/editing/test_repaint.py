"""RePaint keeps the known pixels, and goes up and down the levels as in the paper."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import mezzotint as mz
from mezzotint.diffusion.editing import repaint
from mezzotint.diffusion.editing.repaint import calls, walk
from mezzotint.diffusion.level import Level

RHO = 0.9


def pairs(x: Tensor, level: Level) -> Tensor:
    """The exact denoiser of two pixels from N(0, 0.25) with a correlation of 0.9."""
    cov = 0.25 * torch.tensor([[1.0, RHO], [RHO, 1.0]])
    gain = (
        level.alpha * cov @ torch.linalg.inv(level.alpha**2 * cov + level.sigma**2 * torch.eye(2))
    )
    return (x.flatten(1) @ gain.T).view_as(x)


def filled(repeats: int) -> Tensor:
    y = torch.tensor([0.6, 0.0]).expand(3000, 1, 1, 2)
    known = torch.tensor([1.0, 0.0])
    grid, draw = mz.cosine(1000).grid(50, "logsnr"), torch.Generator().manual_seed(0)

    def randn(x: Tensor) -> Tensor:
        return torch.randn(x.shape, generator=draw)

    x = randn(torch.empty(y.shape))
    x = repaint(pairs, x, grid, y, known, jump=5, repeats=repeats, randn=randn)
    assert (x[..., 0] == 0.6).all()
    return x[..., 1]


def test_more_repeats_come_nearer_to_the_conditional_mean() -> None:
    """The mean is 0.9 * 0.6; only the network passes it on from the known pixel."""
    once, often = filled(1).mean(), filled(10).mean()
    assert abs(often - RHO * 0.6) < abs(once - RHO * 0.6)
    assert abs(often - RHO * 0.6) < 0.08


def test_the_walk_goes_down_and_back() -> None:
    assert list(walk(4, 2, 1)) == [(0, 1), (1, 2), (2, 3), (3, 4)]
    again = [(0, 1), (1, 2), (2, 1), (1, 0), (0, 1), (1, 2), (2, 3), (3, 4)]
    assert list(walk(4, 2, 2)) == again
    assert calls(4, 2, 2) == 6
    for steps, jump, repeats in ((50, 5, 5), (20, 10, 3), (7, 3, 2)):
        assert calls(steps, jump, repeats) == steps + (steps - 1) // jump * jump * (repeats - 1)


@pytest.mark.parametrize(("jump", "repeats"), [(0, 5), (5, 0)])
def test_a_walk_that_goes_nowhere_is_refused(jump: int, repeats: int) -> None:
    x = torch.zeros(1, 1, 1, 2)
    with pytest.raises(mz.UserError, match="choose 1 or more for both"):
        repaint(pairs, x, mz.cosine(10).grid(2), x, x, jump=jump, repeats=repeats)
