"""Exact solutions to test against."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mezzotint.noise import Level


@dataclass(frozen=True)
class Gaussian:
    """Data ``x0 ~ N(mean, var)`` in every coordinate; var 0 is a single point."""

    mean: float
    var: float

    def denoise(self, x: Tensor, level: Level) -> Tensor:
        """``E[x0 | x] = mean + alpha var / (alpha^2 var + sigma^2) * (x - alpha mean)``."""
        gain = level.alpha * self.var / (level.alpha**2 * self.var + level.sigma**2)
        return self.mean + gain * (x - level.alpha * self.mean)

    def marginal(self, level: Level) -> tuple[float, float]:
        """Mean and variance of ``alpha x0 + sigma eps``."""
        return level.alpha * self.mean, level.alpha**2 * self.var + level.sigma**2
