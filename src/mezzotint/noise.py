"""The noise axis: levels on it, schedules that tabulate it, grids that walk it.

Everything here is variance preserving, ``x = alpha * x0 + sigma * eps`` with
``alpha**2 + sigma**2 = 1``, tabulated in float64. Betas never leave this file.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic

import numpy as np
import torch
from torch import Tensor
from typing_extensions import TypeVar

from mezzotint.errors import UserError

Number = TypeVar("Number", float, Tensor, default=float)


@dataclass(frozen=True)
class Level(Generic[Number]):
    """A point on the noise axis, where ``x = alpha * x0 + sigma * eps``.

    ``t`` is what the network is told; the clean level is ``Level(-1, 1, 0)``, and no network is
    ever asked there. The three are floats along a grid, tensors that broadcast against a batch in
    training.
    """

    t: Number
    alpha: Number
    sigma: Number


@dataclass(frozen=True, eq=False)
class Schedule:
    """A table of levels: ``alpha`` and ``sigma``, float64, shape ``(T + 1,)``.

    Row 0 is clean, ``(1, 0)``; row i is what the network knows as ``t = i - 1``.
    """

    alpha: Tensor
    sigma: Tensor

    def __len__(self) -> int:
        """T, the number of noisy rows."""
        return len(self.alpha) - 1

    def to(self, device: torch.device) -> Schedule:
        """The same tables on a device, where `levels` reads them every step of a training."""
        return Schedule(self.alpha.to(device), self.sigma.to(device))

    def levels(self, rows: Tensor, dims: int = 4) -> Level[Tensor]:
        """The float32 levels of a batch of rows (B,), on the tables' device.

        Shaped to broadcast against pictures of ``dims`` axes.
        """
        shape = (-1, *[1] * (dims - 1))
        alpha, sigma = (table[rows].float().view(shape) for table in (self.alpha, self.sigma))
        return Level(rows.float() - 1, alpha, sigma)

    def grid(self, steps: int, spacing: str = "leading") -> list[Level]:
        """``steps`` noisy levels and the clean one, noisy to clean: ``steps`` network calls.

        ``spacing`` is one of SPACINGS. Raises UserError for another name, or for a step count
        outside 1..T.
        """
        if spacing not in SPACINGS:
            raise UserError(f"unknown spacing {spacing!r}: choose one of {', '.join(SPACINGS)}")
        if not 1 <= steps <= len(self):
            raise UserError(f"steps is {steps}: choose 1 to {len(self)}, the schedule's length")
        rows = [0] + [t + 1 for t in SPACINGS[spacing](steps, len(self))]
        alpha, sigma = self.alpha.tolist(), self.sigma.tolist()
        return [Level(i - 1, alpha[i], sigma[i]) for i in reversed(rows)]


# Spacings: which t, in rising order, a grid of n steps visits out of 0..T-1. Where a formula's ends
# fall together, in a single step of linspace or quadratic, that step is at the noisy end.


def leading(n: int, T: int) -> list[int]:
    """``t_i = i * floor(T / n)``: begins at 0, so it stops short of T - 1 (Song et al. 2020)."""
    return [i * (T // n) for i in range(n)]


def trailing(n: int, T: int) -> list[int]:
    """``t_i = round(i * T / n) - 1``, i = 1..n: ends at T - 1, the only safe one if row T is noise.

    (Lin et al. 2024, arXiv 2305.08891, Table 2.)
    """
    return [round(t) - 1 for t in np.arange(T, 0, -T / n)[n - 1 :: -1].tolist()]


def linspace(n: int, T: int) -> list[int]:
    """``t_i = round(i * (T - 1) / (n - 1))``: both ends (Nichol and Dhariwal 2021)."""
    return [round(t) for t in np.linspace(0, T - 1, n).tolist()] if n > 1 else [T - 1]


def quadratic(n: int, T: int) -> list[int]:
    """``t_i = floor((i / (n - 1) * sqrt(0.8 T))**2)``, as in DDIM's CIFAR-10 figures (Song 2020).

    Where neighbours would fall on the same t, as many steps make them do near 0, the later one
    moves up by one, so no network call is spent on a step that goes nowhere.
    """
    rows: list[int] = []
    for share in (i / (n - 1) for i in range(n)) if n > 1 else [1.0]:
        t = int((share * math.sqrt(0.8 * T)) ** 2)
        rows.append(max(t, rows[-1] + 1) if rows else t)
    return rows


SPACINGS: dict[str, Callable[[int, int], list[int]]] = {
    "leading": leading,
    "trailing": trailing,
    "linspace": linspace,
    "quadratic": quadratic,
}


def from_betas(beta: Tensor) -> Schedule:
    """The schedule with ``alpha_i**2 = prod_{j<=i} (1 - beta_j)``; ``beta`` is float64, (T,)."""
    alpha_bar = torch.cat([torch.ones(1, dtype=torch.float64), torch.cumprod(1 - beta, 0)])
    return Schedule(alpha_bar.sqrt(), (1 - alpha_bar).sqrt())


def linear(T: int = 1000, lo: float = 1e-4, hi: float = 0.02) -> Schedule:
    """``beta_i = lo + i / (T - 1) * (hi - lo)``, i = 0..T-1 (Ho et al. 2020, arXiv 2006.11239)."""
    return from_betas(torch.linspace(lo, hi, T, dtype=torch.float64))


def cosine(T: int = 1000, s: float = 0.008) -> Schedule:
    """``alpha_bar_i = f(i) / f(0)``, ``f(i) = cos^2((i / T + s) / (1 + s) * pi / 2)``.

    With betas cut at 0.999, without which the last row is 0 / 0 to every eps-prediction
    (Nichol and Dhariwal 2021, arXiv 2102.09672, eq. 17). ``s = 0`` is arXiv 2412.14422's formula.
    """
    i = torch.arange(T + 1, dtype=torch.float64)
    f = torch.cos((i / T + s) / (1 + s) * math.pi / 2) ** 2
    return from_betas((1 - f[1:] / f[:-1]).clamp(max=0.999))


SCHEDULES: dict[str, Callable[[int], Schedule]] = {"linear": linear, "cosine": cosine}
