"""Averages of the weights over the training; their length is chosen after the training.

See Karras et al. 2024, arXiv 2312.02696. Two power-function averages are kept during training, and
snapshots of them are saved. The profile of an average is the weight that the average gives to each
step of the training, and its length is the width of the profile. An average of another length is
approximated by a linear combination of snapshots. The factors are chosen so that the profile of the
combination is nearest to the profile of the average (section 3.2, appendix C).

Times are in steps. The weights at a time tau in (i - 1, i] are the weights after step i.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import nn
from torch.optim.swa_utils import AveragedModel

from mezzotint.errors import UserError
from mezzotint.trainer.ema import tracked

Array: TypeAlias = NDArray[np.float64]
LONGEST = 12**-0.5  # the relative length of the plain mean over all steps, gamma = 0


def exponent(length: float) -> float:
    """Return the exponent gamma of the average with a given relative length.

    The profile of an average that ends at the time t is ``(gamma + 1) tau^gamma / t^(gamma + 1)``,
    for times tau up to t. Its relative length sigma_rel is its standard deviation divided by t:
    ``sqrt((gamma + 1) / ((gamma + 2)^2 (gamma + 3)))``, which makes gamma the root of a cubic.
    Raises UserError unless the length is above 0 and below 0.289, the length of the plain mean.
    """
    if not 1e-6 < length < LONGEST:
        raise UserError(f"`length` is {length:g}: choose a length above 0 and below {LONGEST:.3f}")
    k = length**-2
    return float(np.roots([1, 7, 16 - k, 12 - k]).real.max())


def decay(step: int, gamma: float) -> float:
    """Return ``(1 - 1 / step)^(gamma + 1)``, the factor of the old average in the update of a step.

    Steps are counted from 1. With this decay the average has exactly the profile of ``gamma`` (see
    the module) after every step. The weights before the first step do not contribute to it.
    """
    return float((1 - 1 / step) ** (gamma + 1))


def inner(
    t_a: Array | float, gamma_a: Array | float, t_b: Array | float, gamma_b: Array | float
) -> Array:
    """Return the inner products of the profiles of averages a and b, which end at t_a and t_b.

    They are ``(gamma_a + 1)(gamma_b + 1) / (gamma_a + gamma_b + 1) * (earlier / later)^gamma /
    later``, where ``earlier`` and ``later`` are the two times in order, and gamma is the exponent
    of the profile that ends at ``later``. The arguments are broadcast.
    """
    earlier, later = np.minimum(t_a, t_b), np.maximum(t_a, t_b)
    gamma = np.where(np.greater(t_a, t_b), gamma_a, gamma_b)
    scale = (gamma_a + 1) * (gamma_b + 1) / (gamma_a + gamma_b + 1)
    return np.asarray(scale * (earlier / later) ** gamma / later)


def coefficients(times: Array, gammas: Array, time: float, gamma: float) -> tuple[Array, float]:
    """Fit an average by a linear combination of K other averages.

    The K averages end at ``times`` and have the exponents ``gammas``. The average to fit ends at
    ``time`` and has the exponent ``gamma``.

    Returns:
        The factors (K,) of the averages, from a least-squares fit of their profiles; and the
        relative residual, which is the norm of the residual divided by the norm of the profile to
        fit.
    """
    products = inner(times[:, None], gammas[:, None], times, gammas)
    wanted, own = inner(times, gammas, time, gamma), float(inner(time, gamma, time, gamma))
    norms = np.sqrt(products.diagonal())
    # The bound avoids subtracting averages of nearly equal profiles, which would magnify the
    # rounding errors of the saved weights.
    unit = products / np.outer(norms, norms)
    c = np.linalg.lstsq(unit, wanted / norms, rcond=1e-9)[0] / norms
    left = own - 2 * c @ wanted + c @ products @ c
    return c, float(np.sqrt(max(left, 0.0) / own))


GAMMAS = {f"average-{length:g}": exponent(length) for length in (0.05, 0.10)}
"""The file name and the exponent gamma of each average that is kept in training."""


def begin(net: nn.Module) -> dict[str, AveragedModel]:
    """Make an average of a network for each exponent in `GAMMAS`, before the first step."""

    def average(gamma: float) -> AveragedModel:
        return tracked(net, lambda step: decay(step, gamma))

    return {name: average(gamma) for name, gamma in GAMMAS.items()}
