"""Spacings: functions that choose the n levels of a grid, at timesteps or between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from mezzotint.errors import Registry, UserError

if TYPE_CHECKING:
    from mezzotint.diffusion.level import Level, Schedule

Spacing: TypeAlias = "Callable[[Schedule, int], list[Level]]"
"""``spacing(schedule, n) -> levels``: n noisy levels, strictly falling in noise."""

# Grids along lambda stay within EDM's range of sigma / alpha (Karras et al. 2022, table 1), even if
# the schedule reaches further: a cosine schedule ends at 20,000, where steps have no effect.
NOISIEST, CLEANEST = -math.log(80), -math.log(0.002)

# Spacings along t choose n of the values 0..T-1, in rising order. A single step of linspace or
# quadratic is at the noisy end.


def leading(n: int, T: int) -> list[int]:
    """Return ``t_i = i * floor(T / n)``, i = 0..n-1 (Song et al. 2020).

    The last t is T - 1 if n is T, and otherwise lower.
    """
    return [i * (T // n) for i in range(n)]


def trailing(n: int, T: int) -> list[int]:
    """Return ``t_i = round(i * T / n) - 1``, i = 1..n.

    The last t is T - 1, the noisiest timestep. See Lin et al. 2024, arXiv 2305.08891, Table 2.
    """
    return [round(t) - 1 for t in np.arange(T, 0, -T / n)[n - 1 :: -1].tolist()]


def linspace(n: int, T: int) -> list[int]:
    """Return ``t_i = round(i * (T - 1) / (n - 1))``, from 0 to T - 1 (Nichol and Dhariwal 2021)."""
    return [round(t) for t in np.linspace(0, T - 1, n).tolist()] if n > 1 else [T - 1]


def quadratic(n: int, T: int) -> list[int]:
    """Return ``t_i = floor((i / (n - 1) * sqrt(0.8 T))**2)``, as DDIM does on CIFAR-10.

    The formula is by Song et al. 2020, arXiv 2010.02502. With many steps, neighbouring t near 0
    would be equal. The second of them is then raised by one, so that no step has length 0.
    """
    rows: list[int] = []
    for share in (i / (n - 1) for i in range(n)) if n > 1 else [1.0]:
        t = int((share * math.sqrt(0.8 * T)) ** 2)
        rows.append(max(t, rows[-1] + 1) if rows else t)
    return rows


def along_t(choose: Callable[[int, int], list[int]]) -> Spacing:
    """Make a spacing from ``choose(n, T)``, which returns n rising values of t in 0..T-1."""

    def spacing(schedule: Schedule, n: int) -> list[Level]:
        return [schedule.row(t + 1) for t in reversed(choose(n, len(schedule)))]

    return spacing


# Spacings along lambda = ln(alpha / sigma) rise from ``lo`` at the noisy end to ``hi``.


def logsnr(n: int, lo: float, hi: float) -> list[float]:
    """Return n equally spaced values of lambda from ``lo`` to ``hi``.

    See Lu et al. 2022, arXiv 2206.00927, section 3.4.
    """
    return [float(lam) for lam in np.linspace(lo, hi, n)]


def karras(n: int, lo: float, hi: float, rho: float = 7.0) -> list[float]:
    """Return lambda_i with ``exp(-lambda_i) = (a + i / (n - 1) * (b - a))^rho``, i = 0..n-1.

    a and b are ``exp(-lo)^(1 / rho)`` and ``exp(-hi)^(1 / rho)``, so lambda rises from ``lo`` to
    ``hi``. See Karras et al. 2022, arXiv 2206.00364, eq. 5; their sigma is ``sigma / alpha =
    exp(-lambda)``.
    """
    ends = np.linspace(math.exp(-lo / rho), math.exp(-hi / rho), n)
    return [float(lam) for lam in -rho * np.log(ends)]


def along_lambda(choose: Callable[[int, float, float], list[float]]) -> Spacing:
    """Make a spacing from ``choose(n, lo, hi)``, which returns n rising values of lambda.

    lambda is ``ln(alpha / sigma)``. It is at least ``lo`` and at most ``hi``.

    The spacing raises UserError for a schedule that has no level between NOISIEST and CLEANEST.
    """

    def spacing(schedule: Schedule, n: int) -> list[Level]:
        lo, hi = schedule.row(len(schedule)).lam, schedule.row(1).lam
        low, high = max(lo, NOISIEST), min(hi, CLEANEST)
        if low >= high:
            raise UserError(
                "this spacing needs levels with sigma / alpha between 0.002 and 80, but the "
                f"schedule has only {math.exp(-hi):.3g} to {math.exp(-lo):.3g}: choose another "
                "`spacing`, such as trailing, or another `shift`"
            )
        return [schedule.at(lam) for lam in choose(n, low, high)]

    return spacing


def top(schedule: Schedule) -> float:
    """Return ``atan2(sigma, alpha)`` of the schedule's last timestep, but at most ``atan(80)``."""
    return min(float(schedule.angles[-1]), math.atan(math.exp(-NOISIEST)))


def angle(schedule: Schedule, n: int) -> list[Level]:
    """Return the n levels at the angles ``i / n * top(schedule)``, for i from n to 1.

    The angle of a level is ``atan2(sigma, alpha)``. If the last angle would be below the angle of
    timestep 0, the n angles are spread evenly from the first angle down to the angle of timestep 0.
    On normalised data, equal steps in angle spread DDIM's error evenly over the levels, which suits
    few-step models. On a cosine schedule, `trailing` gives nearly the same levels.
    """
    high = top(schedule)
    angles = np.linspace(high, max(high / n, float(schedule.angles[1])), n)
    return [schedule.at(-math.log(math.tan(each))) for each in angles]


SPACINGS: Registry[Spacing] = Registry(
    "spacing",
    {
        "leading": along_t(leading),
        "trailing": along_t(trailing),
        "linspace": along_t(linspace),
        "quadratic": along_t(quadratic),
        "logsnr": along_lambda(logsnr),
        "karras": along_lambda(karras),
        "angle": angle,
    },
)

# Two further spacings need more than a schedule and a number of steps: KNOTS takes values to pass
# through, and OPTIMISED measures a model to find such values.
KNOTS, OPTIMISED = "knots", "optimised"


def through(knots: Sequence[float], n: int, lo: float, hi: float) -> list[float]:
    """Interpolate n values of lambda through knots of ``sigma / alpha``, linearly in the logarithm.

    Sabour et al. 2024 (Align Your Steps, arXiv 2404.14507) adapt their grids to any n in this way.
    A knot up to one percent outside the range ``exp(-hi)`` to ``exp(-lo)`` is moved to the end of
    the range, because published knots are rounded.

    Raises:
        UserError: If the knots do not strictly fall, a knot lies further outside the range, or
            there is a single knot for several steps.
    """
    if not all(0 < k < math.inf for k in knots) or any(a <= b for a, b in pairwise(knots)):
        raise UserError(
            f"`knots` has {', '.join(f'{k:g}' for k in knots)}: give finite "
            "numbers above 0, each smaller than the one before"
        )
    if len(knots) == 1 != n:
        raise UserError(f"a grid of {n} steps needs more than one knot: give two or more")
    if outside := [k for k in knots if not lo - 0.01 <= -math.log(k) <= hi + 0.01]:
        raise UserError(
            f"knot {outside[0]:g} is outside the schedule: choose values of sigma / alpha from "
            f"{math.exp(-hi):.4g} to {math.exp(-lo):.4g}"
        )
    lams = [min(max(-math.log(knot), lo), hi) for knot in knots]
    ends = np.linspace(0, len(lams) - 1, n)
    return [float(lam) for lam in np.interp(ends, np.arange(len(lams)), lams)]
