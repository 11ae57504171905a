"""The noise axis: levels on it, schedules that tabulate it, grids that walk it.

Everything here is variance preserving, ``x = alpha * x0 + sigma * eps`` with
``alpha**2 + sigma**2 = 1``, tabulated in float64. Betas never leave this room.
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
from mezzotint.diffusion.spacings import ALONG_LAMBDA, ALONG_T, SPACINGS

__all__ = [
    "ALONG_LAMBDA",
    "ALONG_T",
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
