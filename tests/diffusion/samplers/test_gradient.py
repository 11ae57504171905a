"""A sampler keeps no autograd graph, unless ``grad`` is set."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

import mezzotint as mz
from mezzotint.diffusion.level import Level

from oracles import Gaussian, along, drawn

DATA = Gaussian(mean=0.7, var=0.1)
GRID = mz.cosine(1000).grid(6)
DETERMINISTIC = [name for name, sampler in mz.SAMPLERS.items() if not sampler.stochastic]


WEIGHT = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)


def weighed(x: Tensor, level: Level) -> Tensor:
    """A denoiser with one parameter, in place of a network."""
    return WEIGHT * DATA.denoise(x, level)


@pytest.mark.parametrize("name", mz.SAMPLERS)
def test_no_graph_is_kept_unless_asked_for(name: str) -> None:
    x = drawn(0)(torch.empty(2, 3, 8, 8)).requires_grad_()
    plain = mz.SAMPLERS[name](weighed, x, GRID, randn=drawn(1))
    assert plain.grad_fn is None
    assert not plain.requires_grad
    kept = mz.SAMPLERS[name](weighed, x, GRID, randn=drawn(1), grad=True)
    assert kept.grad_fn is not None
    torch.testing.assert_close(kept.detach(), plain, rtol=0, atol=0)
    assert all(g.abs().sum() > 0 for g in torch.autograd.grad(kept.sum(), [x, WEIGHT]))
    with torch.no_grad():
        assert mz.SAMPLERS[name](weighed, x, GRID, randn=drawn(1), grad=True).grad_fn is not None
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_the_gradient_is_that_of_the_flow_on_gaussian_data(name: str) -> None:
    """The flow x_s = m_s + sqrt(v_s / v_t) (x_t - m_t) has the same slope everywhere."""
    grid = along(np.linspace(-2, 1.5, 401).tolist())
    x = torch.linspace(-2, 2, 9, dtype=torch.float64, requires_grad=True)
    (_, v_t), (_, v_s) = DATA.marginal(grid[0]), DATA.marginal(grid[-1])
    end = mz.SAMPLERS[name](DATA.denoise, x, grid, grad=True)
    (slope,) = torch.autograd.grad(end.sum(), x)
    torch.testing.assert_close(slope, torch.full_like(x, math.sqrt(v_s / v_t)), rtol=0.02, atol=0)


def test_the_gradient_of_ddim_is_the_product_of_its_steps() -> None:
    x = torch.linspace(-2, 2, 9, dtype=torch.float64, requires_grad=True)
    end = mz.SAMPLERS["ddim"](DATA.denoise, x, GRID, grad=True)
    slope = 1.0
    for t, s in pairwise(GRID):
        gain = t.alpha * DATA.var / (t.alpha**2 * DATA.var + t.sigma**2)  # of x0_hat by x
        slope *= s.alpha * gain + s.sigma * (1 - t.alpha * gain) / t.sigma
    (got,) = torch.autograd.grad(end.sum(), x)
    torch.testing.assert_close(got, torch.full_like(x, slope), rtol=1e-9, atol=0)
