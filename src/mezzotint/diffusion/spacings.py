"""Which levels a grid of n steps visits: rows of the table, or any lambda between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from mezzotint.errors import UserError

# Along t: which of 0..T-1, in rising order. Where a formula's ends fall together, in a single step
# of linspace or quadratic, that step is at the noisy end.


def leading(n: int, T: int) -> list[int]:
    """``t_i = i * floor(T / n)``: begins at 0, so it stops short of T - 1 (Song et al. 2020)."""
    return [i * (T // n) for i in range(n)]


def trailing(n: int, T: int) -> list[int]:
    """``t_i = round(i * T / n) - 1``, i = 1..n: a walk from T - 1, as it must be if row T is noise.

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


ALONG_T: dict[str, Callable[[int, int], list[int]]] = {
    "leading": leading,
    "trailing": trailing,
    "linspace": linspace,
    "quadratic": quadratic,
}

# Along lambda = ln(alpha / sigma), rising from ``lo`` at the noisy end to ``hi``.


def logsnr(n: int, lo: float, hi: float) -> list[float]:
    """Uniform in lambda (Lu et al. 2022, arXiv 2206.00927, section 3.4)."""
    return [float(lam) for lam in np.linspace(lo, hi, n)]


def karras(n: int, lo: float, hi: float, rho: float = 7.0) -> list[float]:
    """``sigma_i = (a + i / (n - 1) * (b - a))^rho`` with a, b the ends' ``sigma^(1 / rho)``.

    Karras et al. 2022, arXiv 2206.00364, eq. 5; their sigma is ``sigma / alpha = exp(-lambda)``.
    """
    ends = np.linspace(math.exp(-lo / rho), math.exp(-hi / rho), n)
    return [float(lam) for lam in -rho * np.log(ends)]


ALONG_LAMBDA: dict[str, Callable[[int, float, float], list[float]]] = {
    "logsnr": logsnr,
    "karras": karras,
}


def through(knots: Sequence[float], n: int, lo: float, hi: float) -> list[float]:
    """n values of lambda through knots of ``sigma / alpha``, straight lines in their logarithm.

    As the grids of Align Your Steps are stretched (Sabour et al. 2024, arXiv 2404.14507). Knots may
    lie beyond ``exp(-hi)`` to ``exp(-lo)`` by a hundredth, as published roundings of the ends do,
    and mean the ends then. Raises UserError for those further out, for knots that do not strictly
    fall, and for a single one where there are more steps.
    """
    if not all(0 < k < math.inf for k in knots) or any(a <= b for a, b in pairwise(knots)):
        raise UserError(
            "knots must fall strictly, above 0: they are finite values of sigma / alpha"
        )
    if len(knots) == 1 != n:
        raise UserError(f"one knot is no grid of {n} steps: give two or more")
    if outside := [k for k in knots if not lo - 0.01 <= -math.log(k) <= hi + 0.01]:
        raise UserError(
            f"knot {outside[0]:g} is outside the schedule: choose {math.exp(-hi):.4g} to "
            f"{math.exp(-lo):.4g}"
        )
    lams = [min(max(-math.log(knot), lo), hi) for knot in knots]
    ends = np.linspace(0, len(lams) - 1, n)
    return [float(lam) for lam in np.interp(ends, np.arange(len(lams)), lams)]


SPACINGS = (*ALONG_T, *ALONG_LAMBDA, "knots")
