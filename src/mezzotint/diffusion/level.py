"""A point on the noise axis, and the table of such points on which a network is trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Generic

import numpy as np
import torch
from torch import Tensor
from typing_extensions import TypeVar

from mezzotint.diffusion.spacings import KNOTS, SPACINGS, through
from mezzotint.errors import UserError

Number = TypeVar("Number", float, Tensor, default=float)
VISIBLE = 3.0  # the smallest `signal` that is always visible in the noise


@dataclass(frozen=True)
class Level(Generic[Number]):
    """A point on the noise axis, where ``x = alpha * x0 + sigma * eps``.

    In the grid of a sampler, the attributes are floats. In training they are tensors: alpha and
    sigma broadcast against a batch of images, and t is (B,).

    Attributes:
        t: The time, an input of the network. The clean level is ``Level(-1, 1, 0)``; the network is
            not called there.
        alpha: The factor of the clean image, in [0, 1].
        sigma: The factor of the noise, in [0, 1].
    """

    t: Number
    alpha: Number
    sigma: Number

    @property
    def lam(self: Level[float]) -> float:
        """``ln(alpha / sigma)``, half the log-SNR; it rises as noise falls."""
        if not self.sigma or not self.alpha:
            return -math.inf if self.sigma else math.inf
        return math.log(self.alpha / self.sigma)


@dataclass(frozen=True, eq=False)
class Schedule:
    """A table of levels: row 0 is the clean level, and row i is the timestep ``t = i - 1``.

    Attributes:
        alpha: float64, shape ``(T + 1,)``.
        sigma: float64, the same shape, with ``alpha**2 + sigma**2 = 1`` in every row.

    Raises:
        UserError: If the tables have other shapes or types, do not begin with the clean level, or
            are not variance preserving; if alpha is negative; or if the noise does not grow with t.
    """

    alpha: Tensor
    sigma: Tensor

    def __post_init__(self) -> None:
        for name in ("alpha", "sigma"):
            table = getattr(self, name)
            if not isinstance(table, Tensor) or table.dtype != torch.float64:
                raise UserError(
                    f"`{name}` of a schedule must be a float64 tensor: convert it with "
                    "torch.as_tensor(..., dtype=torch.float64)"
                )
        shapes = tuple(self.alpha.shape), tuple(self.sigma.shape)
        if shapes[0] != shapes[1] or len(shapes[0]) != 1 or len(self) < 1:
            raise UserError(
                f"`alpha` has the shape {shapes[0]}, `sigma` {shapes[1]}: give both the shape "
                "(T + 1,), with T of 1 or more"
            )
        if not (self.angles.diff() > 0).all():  # which is False for NaN too
            raise UserError(
                "the noise of a schedule must grow at every timestep: choose other parameters, or "
                "other values of alpha and sigma"
            )
        if (self.alpha < 0).any():
            raise UserError("alpha of a schedule is below 0: choose values from 1 down to 0")
        if self.alpha[0] != 1 or self.sigma[0] != 0:
            raise UserError(
                "a schedule must begin without noise: set alpha[0] to 1 and sigma[0] to 0"
            )
        if ((self.alpha**2 + self.sigma**2 - 1).abs() > 1e-6).any():
            raise UserError(
                "alpha**2 + sigma**2 of a schedule must be 1 everywhere: divide alpha and sigma by "
                "torch.hypot(alpha, sigma)"
            )

    @cached_property
    def angles(self) -> Tensor:
        """``atan2(sigma, alpha)`` of each level, (T + 1,), in radians; all values are finite."""
        return torch.atan2(self.sigma, self.alpha)

    def __len__(self) -> int:
        """T, the number of timesteps."""
        return len(self.alpha) - 1

    def to(self, device: torch.device) -> Schedule:
        """Return the schedule with its tables on a device, for calls of `levels` on that device."""
        return Schedule(self.alpha.to(device), self.sigma.to(device))

    def levels(self, rows: Tensor, dims: int = 4) -> Level[Tensor]:
        """Look up the float32 levels of a batch of row indices (B,), on the device of the tables.

        alpha and sigma have the shape (B, 1, ..., 1), which broadcasts against images with ``dims``
        axes; t is (B,).
        """
        shape = (-1, *[1] * (dims - 1))
        alpha, sigma = (table[rows].float().view(shape) for table in (self.alpha, self.sigma))
        return Level(rows.float() - 1, alpha, sigma)

    def grid(
        self, steps: int, spacing: str = "trailing", knots: Sequence[float] = ()
    ) -> list[Level]:
        """Choose the levels that a sampler visits.

        Args:
            steps: The number of noisy levels, 1 to T. A sampler with one call per step calls the
                denoiser ``steps`` times.
            spacing: A name in SPACINGS, or "knots". "leading", "trailing", "linspace" and
                "quadratic" choose timesteps of the table. The other spacings also choose levels
                between timesteps, with t interpolated.
            knots: For the spacing "knots": strictly falling values of sigma / alpha, from which the
                levels are interpolated.

        Returns:
            ``steps + 1`` levels of falling noise; the last level is clean.

        Raises:
            UserError: If ``steps`` is out of range, the spacing is unknown, the spacing is "knots"
                but no ``knots`` are given, ``knots`` are given with another spacing, the knots do
                not fall, there is one knot for several steps, or a knot lies more than one percent
                outside the table.
        """
        if isinstance(steps, bool) or not isinstance(steps, int | np.integer):
            raise UserError(f"`steps` is {steps!r}: give a whole number")
        if not 1 <= steps <= len(self):
            raise UserError(f"`steps` is {steps}: choose 1 to {len(self)}, the schedule's length")
        SPACINGS.check(spacing, KNOTS)
        if (len(knots) > 0) != (spacing == KNOTS):
            raise UserError(
                '`knots` and `spacing="knots"` belong together: give both or neither of them'
            )
        if spacing == KNOTS:
            lams = through(knots, steps, self.row(len(self)).lam, self.row(1).lam)
            noisy = [self.at(lam) for lam in lams]
        else:
            noisy = SPACINGS[spacing](self, steps)
        grid = [*noisy, self.row(0)]
        if len(noisy) != steps or not falls(grid):
            raise UserError(
                f"the spacing {spacing!r} does not give {steps} levels of strictly falling noise: "
                "correct its function"
            )
        return grid

    def row(self, i: int) -> Level:
        """Return the level in row i of the table; i is from 0 to T."""
        return Level(i - 1, float(self.alpha[i]), float(self.sigma[i]))

    def at(self, lam: float) -> Level:
        """Return the level with ``ln(alpha / sigma) = lam``, with t interpolated between timesteps.

        The interpolation is linear in the angle ``atan(sigma / alpha)``, in which a cosine schedule
        is a straight line. A ``lam`` beyond the table gets the t of the nearest timestep.
        """
        angle = math.atan(math.exp(-lam))
        t = float(np.interp(angle, self.angles[1:].cpu().numpy(), np.arange(len(self))))
        return Level(t, math.cos(angle), math.sin(angle))

    def at_angles(self, angles: Tensor, dims: int = 4) -> Level[Tensor]:
        """Return the levels at angles ``atan2(sigma, alpha)`` (B,), with t interpolated as in `at`.

        alpha, sigma and t have the type of ``angles``, and the same shapes as in `levels`.
        """
        rows = self.angles[1:].to(angles)
        above = torch.searchsorted(rows, angles).clamp(min=1, max=len(self) - 1)
        below = rows[above - 1]
        t = above - 1 + (angles - below) / (rows[above] - below)
        wide = angles.view(-1, *[1] * (dims - 1))
        return Level(t.clamp(0, len(self) - 1), torch.cos(wide), torch.sin(wide))


def signal(level: Level, shape: tuple[int, int, int]) -> float:
    """Return ``alpha sqrt(H W) / sigma``, the distance of a noisy white image from pure noise.

    At ``level``, the mean of a channel of x is alpha times the image's mean, plus noise with
    standard deviation sigma / sqrt(H W). The mean of a white image is 1, so the result is alpha in
    units of this standard deviation. If it is large, the network learns to read the brightness of
    the image from x. But sampling starts from pure noise, from which the network reads a medium
    brightness, so no sample is very dark or very bright (Lin et al. 2024, arXiv 2305.08891; their
    case, Stable Diffusion's alpha of 0.068 at 64x64, gives 4.4). The brightness is sometimes
    visible in the noise if the result is above 1, and always if it is above VISIBLE.
    """
    return level.alpha / level.sigma * math.sqrt(shape[1] * shape[2])


def falls(grid: Sequence[Level]) -> bool:
    """Return whether a grid has at least two levels, with sigma / alpha strictly falling."""
    steps = [b.sigma * a.alpha < a.sigma * b.alpha for a, b in pairwise(grid)]
    return bool(steps) and all(steps)
