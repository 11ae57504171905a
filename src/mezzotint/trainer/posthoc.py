"""Averages of the weights whose length is chosen afterwards (Karras et al. 2024, arXiv 2312.02696).

Two power-function averages are kept during training and written down now and then. The weight that
an average gives to each moment of the past is its profile; the combination of the written profiles
that is nearest to a wanted one makes the wanted average of them (section 3.2, appendix C).

Times are in steps, ``theta(tau)`` being the weights after step i for tau in (i - 1, i].
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
LONGEST = 12**-0.5  # the relative length of the plain mean of all weights, gamma = 0


def exponent(length: float) -> float:
    """The gamma whose profile ``(gamma + 1) tau^gamma / t^(gamma + 1)`` has a relative length.

    ``length`` is sigma_rel, the profile's standard deviation over the time t it ends at:
    ``sqrt((gamma + 1) / ((gamma + 2)^2 (gamma + 3)))``, a cubic in gamma. Raises UserError unless
    it is above 0 and below 0.289, the length of the plain mean.
    """
    if not 1e-6 < length < LONGEST:
        raise UserError(f"length is {length:g}: choose one above 0 and below {LONGEST:.3f}")
    k = length**-2
    return float(np.roots([1, 7, 16 - k, 12 - k]).real.max())


def decay(step: int, gamma: float) -> float:
    """``(1 - 1 / step)^(gamma + 1)``: the weight of the past at a step, from 1 on.

    Then the average after step t is the profile's integral over theta, without an error of
    discretisation; the weights before the first step have no part in it.
    """
    return float((1 - 1 / step) ** (gamma + 1))


def inner(
    t_a: Array | float, gamma_a: Array | float, t_b: Array | float, gamma_b: Array | float
) -> Array:
    """The inner product of two profiles, broadcast; 0 after the end of the earlier one.

    ``(gamma_a + 1)(gamma_b + 1) / (gamma_a + gamma_b + 1) * (earlier / later)^gamma / later``, the
    gamma being that of the later one.
    """
    earlier, later = np.minimum(t_a, t_b), np.maximum(t_a, t_b)
    gamma = np.where(np.greater(t_a, t_b), gamma_a, gamma_b)
    scale = (gamma_a + 1) * (gamma_b + 1) / (gamma_a + gamma_b + 1)
    return np.asarray(scale * (earlier / later) ** gamma / later)


def coefficients(times: Array, gammas: Array, time: float, gamma: float) -> tuple[Array, float]:
    """The combination (K,) of K averages that is nearest to the average (time, gamma).

    That is by least squares of the profiles. Returned with it: the error of the fit, the norm of
    what is left of the wanted profile over its own.
    """
    products = inner(times[:, None], gammas[:, None], times, gammas)
    wanted, own = inner(times, gammas, time, gamma), float(inner(time, gamma, time, gamma))
    norms = np.sqrt(products.diagonal())
    # The bound keeps two averages of nearly the same profile from being subtracted, which would
    # enlarge the rounding they are kept with.
    unit = products / np.outer(norms, norms)
    c = np.linalg.lstsq(unit, wanted / norms, rcond=1e-9)[0] / norms
    left = own - 2 * c @ wanted + c @ products @ c
    return c, float(np.sqrt(max(left, 0.0) / own))


GAMMAS = {f"average-{length:g}": exponent(length) for length in (0.05, 0.10)}
"""The averages that are kept, by the names of their files."""


def begin(net: nn.Module) -> dict[str, AveragedModel]:
    """Those averages of a network, before the first step."""

    def average(gamma: float) -> AveragedModel:
        return tracked(net, lambda step: decay(step, gamma))

    return {name: average(gamma) for name, gamma in GAMMAS.items()}
