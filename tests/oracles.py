"""Exact solutions for tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mezzotint.diffusion.level import Level
from mezzotint.diffusion.prediction import Denoiser
from mezzotint.diffusion.samplers import SAMPLERS
from mezzotint.diffusion.samplers.step import Noise


@dataclass(frozen=True)
class Gaussian:
    """Data ``x0 ~ N(mean, var)`` in every coordinate; with var 0 it is a single point."""

    mean: float
    var: float

    def denoise(self, x: Tensor, level: Level) -> Tensor:
        """Return ``E[x0 | x] = mean + alpha var / (alpha^2 var + sigma^2) * (x - alpha mean)``."""
        gain = level.alpha * self.var / (level.alpha**2 * self.var + level.sigma**2)
        return self.mean + gain * (x - level.alpha * self.mean)

    def marginal(self, level: Level) -> tuple[float, float]:
        """Return the mean and the variance of ``alpha x0 + sigma eps``."""
        return level.alpha * self.mean, level.alpha**2 * self.var + level.sigma**2


@dataclass(frozen=True, eq=False)
class Mixture:
    """Data ``x0 ~ sum_k weight_k N(mean_k, var_k I)``, with x of shape (N, D), in float64.

    At a level, component k is ``N(alpha mean_k, v_k I)`` with ``v_k = alpha^2 var_k + sigma^2``.
    """

    weight: Tensor  # (K,), sums to 1
    mean: Tensor  # (K, D)
    var: Tensor  # (K,)

    @classmethod
    def random(cls, dims: int, parts: int = 5, seed: int = 0) -> Mixture:
        """Make components with unequal weights, variances 0.1 to 0.4, and means from N(0, I)."""
        draw = torch.Generator().manual_seed(seed)
        weight, var = 0.5 + torch.rand(2, parts, generator=draw, dtype=torch.float64)
        mean = torch.randn(parts, dims, generator=draw, dtype=torch.float64)
        return cls(weight / weight.sum(), mean, 0.3 * var - 0.05)

    def parts(self, x: Tensor, level: Level) -> tuple[Tensor, Tensor, Tensor]:
        """Return ``log(weight_k p_k(x))`` and ``|x - alpha mean_k|^2``, (N, K), and v_k (K,)."""
        v = level.alpha**2 * self.var + level.sigma**2
        mean = level.alpha * self.mean
        apart = x.square().sum(1, keepdim=True) - 2 * x @ mean.T + mean.square().sum(1)
        scale = self.weight.log() - 0.5 * x.shape[1] * (2 * math.pi * v).log()
        return scale - 0.5 * apart / v, apart, v

    def log_density(self, x: Tensor, level: Level) -> Tensor:
        """Return ``log p(x)`` at the level, (N,)."""
        return self.parts(x, level)[0].logsumexp(1)

    def denoise(self, x: Tensor, level: Level) -> Tensor:
        """Return ``E[x0 | x]``, the mean of ``mean_k + gain_k (x - alpha mean_k)`` by shares."""
        logs, _, v = self.parts(x, level)
        share, gain = logs.softmax(1), level.alpha * self.var / v
        own = (1 - level.alpha * gain)[:, None] * self.mean
        return share @ own + (share @ gain)[:, None] * x

    def draw(self, count: int, level: Level, randn: torch.Generator) -> Tensor:
        """Return ``count`` samples of x at the level, (count, D)."""
        k = torch.multinomial(self.weight, count, replacement=True, generator=randn)
        z = torch.randn(count, self.mean.shape[1], generator=randn, dtype=torch.float64)
        v = level.alpha**2 * self.var + level.sigma**2
        return level.alpha * self.mean[k] + v[k].sqrt()[:, None] * z

    def flow(self, x: Tensor, lo: float, hi: float, eta: float = 0.0, steps: int = 2000) -> Tensor:
        """Return where the probability flow takes x from lambda lo to hi.

        ``d(x / sigma) / d lambda = exp(lambda) E[x0 | x]`` is solved by Runge and Kutta's
        fourth-order method. With eta, the result is that of the SDE of DDIM(eta) without its noise:
        ``(1 + eta^2) exp(lambda) E[x0 | x] - eta^2 x / sigma``.
        """

        def slope(lam: float, z: Tensor) -> Tensor:
            level = at(lam)
            x0 = self.denoise(level.sigma * z, level)
            return (1 + eta**2) * math.exp(lam) * x0 - eta**2 * z

        z, h = x / at(lo).sigma, (hi - lo) / steps
        for lam in (lo + i * h for i in range(steps)):
            a = slope(lam, z)
            b = slope(lam + h / 2, z + h / 2 * a)
            c = slope(lam + h / 2, z + h / 2 * b)
            z = z + h / 6 * (a + 2 * b + 2 * c + slope(lam + h, z + h * c))
        return at(hi).sigma * z


def at(lam: float) -> Level:
    """Return the level with ``ln(alpha / sigma) = lam``; its t is -lam, which no oracle reads."""
    angle = math.atan(math.exp(-lam))
    return Level(-lam, math.cos(angle), math.sin(angle))


def along(lams: Sequence[float]) -> list[Level]:
    """Return the grid with these lambdas."""
    return [at(lam) for lam in lams]


def affine(
    method: str, options: dict, denoise: Denoiser, pair: list[Level]
) -> tuple[float, float, float]:
    """Return (a, b, n) of one step ``x -> a x + b + n z`` of a sampler, from three calls."""

    def go(x: float, z: float) -> float:
        start = torch.full((1,), x, dtype=torch.float64)
        return float(
            SAMPLERS[method](denoise, start, pair, randn=lambda x: torch.full_like(x, z), **options)
        )

    b = go(0, 0)
    return go(1, 0) - b, b, go(0, 1) - b


def drawn(seed: int, scale: float = 1.0) -> Noise:
    """Return a ``randn`` for samplers with a fixed seed; its standard deviation is ``scale``."""
    randn = torch.Generator().manual_seed(seed)
    return lambda x: scale * torch.randn(x.shape, generator=randn, dtype=x.dtype)
