"""The exact probability flow of mixtures of Gaussians in one dimension."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

import mezzotint as mz


@dataclass(frozen=True)
class Flow:
    """Data ``x0 ~ sum_k weight_k N(mean_k, sd_k^2)`` in one dimension.

    In one dimension the flow keeps the order of points, and so the value of their distribution
    function. From angle t to s it is ``x_s = F_s^-1(F_t(x_t))``.
    """

    weights: tuple[float, ...]
    means: tuple[float, ...]
    sds: tuple[float, ...]

    @property
    def std(self) -> float:
        mean = sum(w * m for w, m in zip(self.weights, self.means, strict=True))
        square = zip(self.weights, self.means, self.sds, strict=True)
        return math.sqrt(sum(w * (m**2 + s**2) for w, m, s in square) - mean**2)

    def parts(self, x: Tensor, angle: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return weights (K,), and standardised x and standard deviations (..., K), at an angle."""
        w, m, s = (torch.tensor(v, dtype=x.dtype) for v in (self.weights, self.means, self.sds))
        alpha, sigma = torch.cos(angle)[..., None], torch.sin(angle)[..., None]
        sd = (alpha**2 * s**2 + sigma**2).sqrt()
        return w, (x[..., None] - alpha * m) / sd, sd

    def cdf(self, x: Tensor, angle: Tensor) -> Tensor:
        w, z, _ = self.parts(x, angle)
        return (w * torch.special.ndtr(z)).sum(-1)

    def denoise(self, x: Tensor, angle: Tensor) -> Tensor:
        """Return ``E[x0 | x]`` at an angle."""
        w, z, sd = self.parts(x, angle)
        share = (w.log() - sd.log() - z**2 / 2).softmax(-1)
        m, s = (torch.tensor(v, dtype=x.dtype) for v in (self.means, self.sds))
        gain = torch.cos(angle)[..., None] * s**2 / sd
        return (share * (m + gain * z)).sum(-1)

    def between(self, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """Return where the flow takes x from angle t to s; bisection finds it up to rounding."""
        wanted, reach = self.cdf(x, t), 12.0
        low, high = torch.full_like(x, -reach), torch.full_like(x, reach)
        for _ in range(60):
            middle = (low + high) / 2
            below = self.cdf(middle, s) < wanted
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2

    def draw(self, count: int, seed: int = 0) -> Tensor:
        """Return samples of the data, float64 (count,)."""
        draw = torch.Generator().manual_seed(seed)
        weights = torch.tensor(self.weights, dtype=torch.float64)
        k = torch.multinomial(weights, count, replacement=True, generator=draw)
        z = torch.randn(count, generator=draw, dtype=torch.float64)
        m, s = (torch.tensor(v, dtype=torch.float64) for v in (self.means, self.sds))
        return m[k] + s[k] * z


GAUSSIAN = Flow((1.0,), (0.3,), (0.5,))
TWO = Flow((0.4, 0.6), (-0.8, 0.6), (0.2, 0.3))


def angle_of(level: mz.Level) -> float:
    return math.atan2(level.sigma, level.alpha)
