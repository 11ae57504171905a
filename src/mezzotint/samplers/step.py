"""The one update that every sampler makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor

from mezzotint.noise import Level

Noise: TypeAlias = Callable[[Tensor], Tensor]
"""``randn(x) -> z``: standard normal noise in x's shape, from wherever the caller keeps it."""


def tau(t: Level, s: Level) -> float:
    """``1 - (alpha_t sigma_s / (alpha_s sigma_t))^2``: beta, of a step over any number of rows."""
    return 1 - (t.alpha * s.sigma / (s.alpha * t.sigma)) ** 2


def step(
    x: Tensor, x0: Tensor, t: Level, s: Level, c: float, n: float = 0.0, randn: Noise | None = None
) -> Tensor:
    """Carry x from level t to a cleaner level s, given the estimate x0 of the clean image.

    ``x_s = alpha_s * x0 + c * eps_hat + n * z`` with ``eps_hat = (x - alpha_t * x0) / sigma_t`` and
    ``z ~ N(0, I)``, which is drawn only where n is not 0.
    """
    eps = (x - t.alpha * x0) / t.sigma
    x = s.alpha * x0 + c * eps
    return x + n * randn(x) if n and randn else x
