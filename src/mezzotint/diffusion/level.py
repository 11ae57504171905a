"""A point on the noise axis, and the table of them that a network was trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic

import numpy as np
import torch
from torch import Tensor
from typing_extensions import TypeVar

from mezzotint.diffusion.spacings import ALONG_LAMBDA, ALONG_T, SPACINGS, through
from mezzotint.errors import UserError

Number = TypeVar("Number", float, Tensor, default=float)

# What of the axis the grids along lambda walk, where a schedule reaches further: EDM's sigmas
# (Karras et al. 2022, table 1). A cosine schedule's last row has sigma / alpha = 20,000, and steps
# up there would go nowhere.
NOISIEST, CLEANEST = -math.log(80), -math.log(0.002)


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

    @property
    def lam(self: Level[float]) -> float:
        """``ln(alpha / sigma)``, half the log-SNR: rises as noise falls, infinite at both ends."""
        if not self.sigma or not self.alpha:
            return -math.inf if self.sigma else math.inf
        return math.log(self.alpha / self.sigma)


@dataclass(frozen=True, eq=False)
class Schedule:
    """A table of levels: ``alpha`` and ``sigma``, float64, shape ``(T + 1,)``.

    Row 0 is clean, ``(1, 0)``; row i is what the network knows as ``t = i - 1``.
    """

    alpha: Tensor
    sigma: Tensor

    def __post_init__(self) -> None:
        """Raises UserError for a table in which noise does not grow from row to row."""
        if not (self.angles.diff() > 0).all():  # nor where a number is none
            raise UserError("the noise of a schedule must grow from row to row: change its numbers")

    @cached_property
    def angles(self) -> Tensor:
        """``atan2(sigma, alpha)`` of the rows, (T + 1,): finite from clean to noise."""
        return torch.atan2(self.sigma, self.alpha)

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

    def grid(
        self, steps: int, spacing: str = "leading", knots: Sequence[float] = ()
    ) -> list[Level]:
        """``steps`` noisy levels and the clean one, noisy to clean: ``steps`` network calls.

        ``spacing`` is one of SPACINGS. Those along t visit rows of the table. Those along lambda
        stand between rows, and t with them; "knots" goes through given values of sigma / alpha,
        falling. Raises UserError for another name, for a step count outside 1..T, and for knots
        that do not fall or lie outside the table.
        """
        if spacing not in SPACINGS:
            raise UserError(f"unknown spacing {spacing!r}: choose one of {', '.join(SPACINGS)}")
        if not 1 <= steps <= len(self):
            raise UserError(f"steps is {steps}: choose 1 to {len(self)}, the schedule's length")
        if bool(knots) != (spacing == "knots"):
            raise UserError("the spacing 'knots' needs knots, and no other takes them")
        if spacing in ALONG_T:
            rows = [t + 1 for t in reversed(ALONG_T[spacing](steps, len(self)))]
            alpha, sigma = self.alpha.tolist(), self.sigma.tolist()
            noisy = [Level(i - 1, alpha[i], sigma[i]) for i in rows]
        else:
            lo, hi = self.row(len(self)).lam, self.row(1).lam
            if spacing == "knots":
                lams = through(knots, steps, lo, hi)
            else:
                lams = ALONG_LAMBDA[spacing](steps, *_walked(lo, hi))
            noisy = [self.at(lam) for lam in lams]
        return [*noisy, self.row(0)]

    def row(self, i: int) -> Level:
        """The level of row i of the table, 0 to T."""
        return Level(i - 1, float(self.alpha[i]), float(self.sigma[i]))

    def at(self, lam: float) -> Level:
        """The level with ``ln(alpha / sigma) = lam``, its t interpolated between the rows.

        Along the angle, in which a cosine schedule is a straight line. A ``lam`` beyond the table
        keeps the nearest t.
        """
        angle = math.atan(math.exp(-lam))
        t = float(np.interp(angle, self.angles[1:].numpy(), np.arange(len(self))))
        return Level(t, math.cos(angle), math.sin(angle))


def _walked(lo: float, hi: float) -> tuple[float, float]:
    """The part of a table, from lambda ``lo`` to ``hi``, that grids along lambda walk."""
    if max(lo, NOISIEST) >= min(hi, CLEANEST):
        raise UserError(
            f"the schedule's sigma / alpha, {math.exp(-hi):.3g} to {math.exp(-lo):.3g}, is not "
            "within 0.002 to 80 at all: take a spacing along t, or another shift"
        )
    return max(lo, NOISIEST), min(hi, CLEANEST)
