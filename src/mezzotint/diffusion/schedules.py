"""The schedules: how the noise grows over the T rows of the table, T being 1 or more."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from mezzotint.diffusion.level import Schedule
from mezzotint.errors import UserError


def from_betas(beta: Tensor) -> Schedule:
    """The schedule with ``alpha_i**2 = prod_{j<=i} (1 - beta_j)``; ``beta`` is float64, (T,)."""
    alpha_bar = torch.cat([torch.ones(1, dtype=torch.float64), torch.cumprod(1 - beta, 0)])
    return Schedule(alpha_bar.sqrt(), (1 - alpha_bar).sqrt())


def from_alpha_bar(f: Tensor) -> Schedule:
    """``alpha_bar_i = f_i / f_0``, betas cut at 0.999; ``f`` is float64, (T + 1,), falling.

    Without the cut the last row of a curve that ends at 0 is 0 / 0 to every eps-prediction.
    """
    return from_betas((1 - f[1:] / f[:-1]).clamp(max=0.999))


def from_lambda(lam: Tensor) -> Schedule:
    """The schedule with ``ln(alpha_i / sigma_i) = lam_i``; ``lam`` is float64, (T,), falling."""
    clean = torch.tensor([math.inf], dtype=torch.float64)
    lam = torch.cat([clean, lam])
    return Schedule(torch.sigmoid(2 * lam).sqrt(), torch.sigmoid(-2 * lam).sqrt())


def _rows(T: int) -> Tensor:
    """0 to T."""
    return torch.arange(_counted(T) + 1, dtype=torch.float64)


def _line(start: float, end: float, T: int) -> Tensor:
    """T numbers at equal distances."""
    return torch.linspace(start, end, _counted(T), dtype=torch.float64)


def _counted(T: int) -> int:
    if T < 1:
        raise UserError(f"T is {T}: choose a schedule of 1 row or more")
    return T


def linear(T: int = 1000, lo: float = 1e-4, hi: float = 0.02) -> Schedule:
    """``beta_i = lo + i / (T - 1) * (hi - lo)``, i = 0..T-1 (Ho et al. 2020, arXiv 2006.11239)."""
    return from_betas(_line(lo, hi, T))


def scaled_linear(T: int = 1000, lo: float = 0.00085, hi: float = 0.012) -> Schedule:
    """``sqrt(beta)`` linear from sqrt(lo) to sqrt(hi) (Rombach et al. 2022, arXiv 2112.10752)."""
    return from_betas(_line(lo**0.5, hi**0.5, T) ** 2)


def cosine(T: int = 1000, s: float = 0.008) -> Schedule:
    """``alpha_bar_i = f(i) / f(0)``, ``f(i) = cos^2((i / T + s) / (1 + s) * pi / 2)``.

    Nichol and Dhariwal 2021, arXiv 2102.09672, eq. 17. ``s = 0`` is arXiv 2412.14422's formula.
    """
    return from_alpha_bar(torch.cos((_rows(T) / T + s) / (1 + s) * math.pi / 2) ** 2)


def sigmoid(T: int = 1000, start: float = -3.0, end: float = 3.0, tau: float = 1.0) -> Schedule:
    """``f(i) = g(end / tau) - g((start + i / T * (end - start)) / tau)``, g the logistic function.

    ``alpha_bar_i = f(i) / f(0)`` (Jabri et al. 2022, arXiv 2212.11972; Chen 2023).
    """
    at = torch.sigmoid((start + _rows(T) / T * (end - start)) / tau)
    return from_alpha_bar(at[-1] - at)


def exponential(T: int = 1000, lo: float = 0.01, hi: float = 80.0) -> Schedule:
    """``sigma_i / alpha_i = lo * (hi / lo)^((i - 1) / (T - 1))``, i = 1..T: a geometric sequence.

    Song and Ermon 2019, arXiv 1907.05600; uniform in lambda.
    """
    return from_lambda(_line(-math.log(lo), -math.log(hi), T))


def laplace(T: int = 1000, mean: float = 0.0, width: float = 1.5) -> Schedule:
    """log-SNR distributed as Laplace(mean, width): row i is the quantile at ``1 - u``.

    ``2 lam = mean - width * sgn(1/2 - u) * ln(1 - 2 |1/2 - u|)``, ``u = (i - 1/2) / T``. Hang
    et al. 2024, arXiv 2407.03297, train at width 0.5 and sample on another schedule; at 1.5 the
    last row, alpha = 0.006, is near enough to noise to sample from too.
    """
    from_half = (_rows(T)[1:] - 0.5) / T - 0.5
    return from_lambda((mean + width * from_half.sign() * torch.log1p(-2 * from_half.abs())) / 2)


def zero_terminal_snr(schedule: Schedule) -> Schedule:
    """alpha shifted and scaled so that row T is pure noise and row 1 stays as it is.

    ``alpha_i <- (alpha_i - alpha_T) * alpha_1 / (alpha_1 - alpha_T)`` (Lin et al. 2024, arXiv
    2305.08891, algorithm 1). Nothing can be learned of eps there: predict v, x0 or flow.
    """
    noisy = schedule.alpha[1:]
    noisy = (noisy - noisy[-1]) * noisy[0] / (noisy[0] - noisy[-1])
    alpha = torch.cat([schedule.alpha[:1], noisy])
    return Schedule(alpha, (1 - alpha**2).sqrt())


def shifted(schedule: Schedule, factor: float) -> Schedule:
    """Noise for a resolution ``factor`` times that for which the schedule was made.

    ``sigma / alpha <- factor * sigma / alpha``, since averaging the pixels of a larger picture
    would take the noise away (Hoogeboom et al. 2023, arXiv 2301.11093). Raises UserError unless
    ``factor`` is above 0.
    """
    if not 0 < factor < math.inf:
        raise UserError(f"shift is {factor:g}: choose a factor above 0, 1 leaving it as it is")
    sigma = factor * schedule.sigma
    length = torch.hypot(schedule.alpha, sigma)
    return Schedule(schedule.alpha / length, sigma / length)


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "linear": linear,
    "scaled_linear": scaled_linear,
    "cosine": cosine,
    "sigmoid": sigmoid,
    "exponential": exponential,
    "laplace": laplace,
}
