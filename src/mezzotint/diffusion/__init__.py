"""The noise axis, and everything that works on it: schedules, grids, guidance, samplers.

Every schedule is variance preserving: ``x = alpha * x0 + sigma * eps`` with
``alpha**2 + sigma**2 = 1``, tabulated in float64. Betas are not used outside this package.
"""

from mezzotint.diffusion.level import Level, Number, Schedule
from mezzotint.diffusion.schedules import (
    SCHEDULES,
    cosine,
    exponential,
    laplace,
    linear,
    scaled_linear,
    shifted,
    sigmoid,
    zero_terminal_snr,
)
from mezzotint.diffusion.spacings import SPACINGS

__all__ = [
    "SCHEDULES",
    "SPACINGS",
    "Level",
    "Number",
    "Schedule",
    "cosine",
    "exponential",
    "laplace",
    "linear",
    "scaled_linear",
    "shifted",
    "sigmoid",
    "zero_terminal_snr",
]
