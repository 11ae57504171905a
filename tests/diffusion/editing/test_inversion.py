"""Inversion with exact models, and spherical interpolation of noise."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import mezzotint as mz
from mezzotint.diffusion.editing import invert, slerp
from mezzotint.diffusion.level import Level
from mezzotint.diffusion.prediction import Denoiser


def gaussian(variance: float, mean: float = 0.2) -> Denoiser:
    """The exact denoiser of N(mean, variance) in every pixel."""

    def denoise(x: Tensor, level: Level) -> Tensor:
        gain = level.alpha * variance / (level.alpha**2 * variance + level.sigma**2)
        return mean + gain * (x - level.alpha * mean)

    return denoise


def two_modes(x: Tensor, level: Level) -> Tensor:
    """The exact denoiser of an equal mixture of N(-0.5, 0.01) and N(0.5, 0.01)."""
    total = level.alpha**2 * 0.01 + level.sigma**2
    weight = torch.sigmoid(2 * level.alpha * 0.5 * x / total)
    center = weight - 0.5
    return center + level.alpha * 0.01 / total * (x - level.alpha * center)


@pytest.mark.parametrize("steps", [10, 50])
@pytest.mark.parametrize("variance", [0.05, 0.25, 1.0])
def test_an_exact_model_is_inverted_to_1e_5(variance: float, steps: int) -> None:
    denoise, grid = gaussian(variance), mz.cosine(1000).grid(steps, "logsnr")
    x = 0.2 + variance**0.5 * torch.randn(4, 3, 8, 8)
    noise = invert(denoise, x, grid, corrections=200, tolerance=1e-7)
    assert (mz.SAMPLERS["ddim"](denoise, noise, grid) - x).abs().max() < 1e-5


def test_a_mixture_is_inverted_too() -> None:
    grid = mz.cosine(1000).grid(100, "logsnr")
    x = torch.cat([torch.full((1, 1, 4, 4), 0.55), torch.full((1, 1, 4, 4), -0.4)])
    noise = invert(two_modes, x, grid, corrections=200, tolerance=1e-7)
    assert (mz.SAMPLERS["ddim"](two_modes, noise, grid) - x).abs().max() < 1e-4


def test_the_correction_is_worth_its_calls() -> None:
    denoise, grid = gaussian(0.25), mz.cosine(1000).grid(20, "logsnr")
    x = 0.2 + 0.5 * torch.randn(4, 3, 8, 8)

    def error(corrections: int) -> float:
        noise = invert(denoise, x, grid, corrections)
        return float((mz.SAMPLERS["ddim"](denoise, noise, grid) - x).square().mean().sqrt())

    assert error(10) < error(2) < error(0)
    assert error(10) < error(0) / 20


def test_the_noise_of_gaussian_data_is_standard_normal() -> None:
    """The flow of a Gaussian is a scaling, so it maps quantiles to quantiles."""
    grid = mz.cosine(1000).grid(200, "logsnr")
    x = torch.linspace(-0.5, 0.9, 8).view(8, 1, 1, 1)
    noise = invert(gaussian(0.25), x, grid, corrections=50, tolerance=1e-7)
    torch.testing.assert_close(noise, (x - 0.2) / 0.5, atol=0.03, rtol=0.02)


def test_fewer_corrections_than_none_are_refused() -> None:
    with pytest.raises(mz.UserError, match="`corrections` is -1: choose 0 or more"):
        invert(gaussian(1.0), torch.zeros(1, 1, 2, 2), mz.cosine(10).grid(2), corrections=-1)


def test_between_two_noises_the_length_stays() -> None:
    a, b = torch.randn(2, 4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for weight in (0.0, 0.3, 0.5, 1.0):
        norm = slerp(a, b, weight).flatten(1).norm(dim=1)
        torch.testing.assert_close(norm, torch.full((4,), math.sqrt(768)), rtol=0.08, atol=0)
    torch.testing.assert_close(slerp(a, b, 0.0), a)
    torch.testing.assert_close(slerp(a, b, 1.0), b)
    torch.testing.assert_close(slerp(a, a, 0.4), a)
    half, other = slerp(a, b, 0.5), slerp(b, a, 0.5)
    torch.testing.assert_close(half, other)
