"""Schedules: the growth of the noise over the T timesteps."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mezzotint.diffusion.level import Schedule
from mezzotint.errors import Registry, UserError


def from_betas(beta: Tensor) -> Schedule:
    """Return the schedule with ``alpha_i**2 = prod_{j<=i} (1 - beta_j)``; beta (T,) is float64."""
    alpha_bar = torch.cat([torch.ones(1, dtype=torch.float64), torch.cumprod(1 - beta, 0)])
    return Schedule(alpha_bar.sqrt(), (1 - alpha_bar).sqrt())


def from_alpha_bar(f: Tensor) -> Schedule:
    """Return the schedule with ``alpha_bar_i = f_i / f_0``; f (T + 1,), float64, must fall.

    Betas are clipped at 0.999. Otherwise an f that ends at 0 would make alpha 0 at the last
    timestep, and x0_hat of an eps-prediction would be 0 / 0 there.
    """
    return from_betas((1 - f[1:] / f[:-1]).clamp(max=0.999))


def from_lambda(lam: Tensor) -> Schedule:
    """Return the schedule with ``ln(alpha_i / sigma_i) = lam_i``; lam (T,), float64, must fall."""
    clean = torch.tensor([math.inf], dtype=torch.float64)
    lam = torch.cat([clean, lam])
    return Schedule(torch.sigmoid(2 * lam).sqrt(), torch.sigmoid(-2 * lam).sqrt())


def _rows(T: int) -> Tensor:
    """Return the row indices of a schedule, 0 to T, as float64."""
    return torch.arange(_counted(T) + 1, dtype=torch.float64)


def _line(start: float, end: float, T: int) -> Tensor:
    """Return T numbers at equal distances from ``start`` to ``end``, as float64."""
    return torch.linspace(start, end, _counted(T), dtype=torch.float64)


def _counted(T: int) -> int:
    """Return T. Raises UserError unless T is a whole number of 1 or more."""
    if isinstance(T, bool) or not isinstance(T, int | np.integer) or T < 1:
        raise UserError(f"`T` is {T!r}: choose a whole number of timesteps, 1 or more")
    return int(T)


def _positive(**numbers: float) -> None:
    """Raise UserError if a number is not finite or not above 0; the message names the number."""
    for name, number in numbers.items():
        if not 0 < number < math.inf:
            raise UserError(f"`{name}` is {number:g}: choose a number above 0")


def linear(T: int = 1000, lo: float = 1e-4, hi: float = 0.02) -> Schedule:
    """Make DDPM's schedule, ``beta_i = lo + i / (T - 1) * (hi - lo)``, i = 0..T-1.

    Ho et al. 2020, arXiv 2006.11239.

    Args:
        T: The number of timesteps.
        lo: The first beta.
        hi: The last beta.

    Returns:
        The schedule of T timesteps.

    Raises:
        UserError: If T is below 1, or the noise does not grow with t.
    """
    return from_betas(_line(lo, hi, T))


def scaled_linear(T: int = 1000, lo: float = 0.00085, hi: float = 0.012) -> Schedule:
    """Make Stable Diffusion's schedule, ``sqrt(beta)`` linear from sqrt(lo) to sqrt(hi).

    Rombach et al. 2022, arXiv 2112.10752.

    Args:
        T: The number of timesteps.
        lo: The first beta.
        hi: The last beta.

    Returns:
        The schedule of T timesteps.

    Raises:
        UserError: If T is below 1, lo or hi is not above 0, or the noise does not grow with t.
    """
    _positive(lo=lo, hi=hi)
    return from_betas(_line(lo**0.5, hi**0.5, T) ** 2)


def cosine(T: int = 1000, s: float = 0.008) -> Schedule:
    """Make the cosine schedule, ``alpha_bar_i = f(i) / f(0)``.

    ``f(i) = cos^2((i / T + s) / (1 + s) * pi / 2)`` (Nichol and Dhariwal 2021, arXiv 2102.09672,
    eq. 17). Betas are clipped at 0.999.

    Args:
        T: The number of timesteps.
        s: The offset; 0 gives the formula of arXiv 2412.14422.

    Returns:
        The schedule of T timesteps.

    Raises:
        UserError: If T is below 1, or s below 0.
    """
    if not s >= 0:
        raise UserError(f"`s` is {s:g}: choose 0 or more")
    return from_alpha_bar(torch.cos((_rows(T) / T + s) / (1 + s) * math.pi / 2) ** 2)


def sigmoid(T: int = 1000, start: float = -3.0, end: float = 3.0, tau: float = 1.0) -> Schedule:
    """Make a schedule from a section of the logistic function g: ``alpha_bar_i = f(i) / f(0)``.

    ``f(i) = g(end / tau) - g((start + i / T * (end - start)) / tau)`` (Jabri et al. 2022, arXiv
    2212.11972; Chen 2023, arXiv 2301.10972). Betas are clipped at 0.999.

    Args:
        T: The number of timesteps.
        start: The beginning of the section of the logistic function.
        end: The end of the section.
        tau: The temperature; a lower temperature makes the middle steeper.

    Returns:
        The schedule of T timesteps.

    Raises:
        UserError: If T is below 1, tau is not above 0, or the noise does not grow with t.
    """
    _positive(tau=tau)
    at = torch.sigmoid((start + _rows(T) / T * (end - start)) / tau)
    return from_alpha_bar(at[-1] - at)


def exponential(T: int = 1000, lo: float = 0.01, hi: float = 80.0) -> Schedule:
    """Make a schedule in which ``sigma_i / alpha_i`` grows geometrically.

    ``sigma_i / alpha_i = lo * (hi / lo)^((i - 1) / (T - 1))``, i = 1..T (Song and Ermon 2019, arXiv
    1907.05600).

    Args:
        T: The number of timesteps.
        lo: ``sigma / alpha`` of the first timestep.
        hi: ``sigma / alpha`` of the last timestep.

    Returns:
        The schedule of T timesteps.

    Raises:
        UserError: If T is below 1, lo or hi is not above 0, or the noise does not grow with t.
    """
    _positive(lo=lo, hi=hi)
    return from_lambda(_line(-math.log(lo), -math.log(hi), T))


def laplace(T: int = 1000, mean: float = 0.0, width: float = 1.5) -> Schedule:
    """Make a schedule whose log-SNR has a Laplace distribution.

    With ``u = (i - 1/2) / T``, the log-SNR of the i-th timestep, i = 1..T, is the quantile at
    ``1 - u``: ``mean - width * sgn(1/2 - u) * ln(1 - 2 |1/2 - u|)``. Hang et al. 2024, arXiv
    2407.03297, train at width 0.5 and sample on another schedule. At width 1.5 the last timestep
    has alpha = 0.006, so near to noise that sampling can start there.

    Args:
        T: The number of timesteps.
        mean: The mean of the log-SNR.
        width: The scale of the distribution.

    Returns:
        The schedule of T timesteps.

    Raises:
        UserError: If T is below 1, or the noise does not grow with t.
    """
    from_half = (_rows(T)[1:] - 0.5) / T - 0.5
    return from_lambda((mean + width * from_half.sign() * torch.log1p(-2 * from_half.abs())) / 2)


def zero_terminal_snr(schedule: Schedule) -> Schedule:
    """Shift and scale alpha: the last timestep becomes pure noise, the first does not change.

    ``alpha_i <- (alpha_i - alpha_T) * alpha_1 / (alpha_1 - alpha_T)``, i = 1..T (Lin et al. 2024,
    arXiv 2305.08891, algorithm 1). An eps-prediction cannot estimate x0 from pure noise: predict v,
    x0 or flow.

    Args:
        schedule: A schedule of two timesteps or more.

    Returns:
        A schedule of the same length.

    Raises:
        UserError: If the schedule has a single timestep.
    """
    noisy = schedule.alpha[1:]
    noisy = (noisy - noisy[-1]) * noisy[0] / (noisy[0] - noisy[-1])
    alpha = torch.cat([schedule.alpha[:1], noisy])
    return Schedule(alpha, (1 - alpha**2).sqrt())


def shifted(schedule: Schedule, factor: float) -> Schedule:
    """Adapt the noise of a schedule to a resolution that is ``factor`` times as high.

    ``sigma / alpha`` is multiplied by ``factor``. The neighbouring pixels of a larger image are
    more alike, so more noise is needed to hide the image (Hoogeboom et al. 2023, arXiv 2301.11093).

    Args:
        schedule: The schedule of the lower resolution.
        factor: The ratio of the resolutions, above 0; 1 changes nothing.

    Returns:
        A schedule of the same length.

    Raises:
        UserError: If ``factor`` is not above 0.
    """
    if not 0 < factor < math.inf:
        raise UserError(f"`shift` is {factor:g}: choose a factor above 0; 1 changes nothing")
    sigma = factor * schedule.sigma
    length = torch.hypot(schedule.alpha, sigma)
    return Schedule(schedule.alpha / length, sigma / length)


SCHEDULES: Registry[Callable[..., Schedule]] = Registry(
    "schedule",
    {
        "linear": linear,
        "scaled_linear": scaled_linear,
        "cosine": cosine,
        "sigmoid": sigmoid,
        "exponential": exponential,
        "laplace": laplace,
    },
)
