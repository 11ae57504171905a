"""What a network predicts, and the denoiser made of it.

A prediction type is two numbers (p, q) at a level: the network is trained to output
``o = p * x0 + q * eps``. Since ``x = alpha * x0 + sigma * eps``, with ``d = q * alpha - p * sigma``

    x0_hat = (q * x - sigma * o) / d          eps_hat = (alpha * o - p * x) / d

so an error of o is one of ``-sigma / d`` times as much of x0_hat.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from mezzotint.diffusion.level import Level, Number
from mezzotint.errors import UserError

Net: TypeAlias = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""``net(x, t, labels) -> output``: x (B, C, H, W), t (B,), labels (B,) int64 or None."""

Denoiser: TypeAlias = Callable[[Tensor, Level], Tensor]
"""``denoise(x, level) -> x0_hat``, shaped as x: all that a sampler knows of a network."""

PREDICTIONS = ("eps", "x0", "v", "flow", "edm")
SIGMA_DATA = 0.5  # standard deviation of the data, as EDM takes it to be


def coefficients(kind: str, level: Level[Number]) -> tuple[Number | float, Number | float]:
    """(p, q) of a prediction type: eps, x0, v (Salimans and Ho 2022), flow (Lipman et al. 2023).

    Or edm, the F of Karras et al. 2022, arXiv 2206.00364, table 1: with
    ``sigma_hat = sigma / alpha`` and ``x_hat = x / alpha`` it is trained to be
    ``(x0 - c_skip x_hat) / c_out``, which here is ``p = sigma / (sigma_data r)``,
    ``q = -alpha sigma_data / r``, ``r = sqrt(sigma^2 + alpha^2 sigma_data^2)``. So
    ``d = -r / sigma_data``, and the plain mean squared error is EDM's, of weight ``1 / c_out^2``.
    c_in is left to the network, as by every variance-preserving model: x has a standard deviation
    between sigma_data and 1 as it is.

    Raises UserError for any other name.
    """
    match kind:
        case "eps":
            return 0.0, 1.0
        case "x0":
            return 1.0, 0.0
        case "v":
            return -level.sigma, level.alpha
        case "flow":
            return -1.0, 1.0
        case "edm":
            r = (level.sigma**2 + level.alpha**2 * SIGMA_DATA**2) ** 0.5
            return level.sigma / (SIGMA_DATA * r), -level.alpha * SIGMA_DATA / r
    raise UserError(f"unknown prediction type {kind!r}: choose one of {', '.join(PREDICTIONS)}")


def determinant(kind: str, level: Level[Number]) -> Number | float:
    """``d = q * alpha - p * sigma``; 0 only for eps, where alpha is."""
    p, q = coefficients(kind, level)
    return q * level.alpha - p * level.sigma


def target(kind: str, x0: Tensor, eps: Tensor, level: Level[Number]) -> Tensor:
    """What the network is trained to output: ``p * x0 + q * eps``."""
    p, q = coefficients(kind, level)
    return p * x0 + q * eps


def to_x0(kind: str, output: Tensor, x: Tensor, level: Level[Number]) -> Tensor:
    """``x0_hat = (q * x - sigma * o) / d``, in float32 at least: near noise 1/alpha passes 10^4."""
    _, q = coefficients(kind, level)
    return (q * _wide(x) - level.sigma * _wide(output)) / determinant(kind, level)


def to_eps(kind: str, output: Tensor, x: Tensor, level: Level[Number]) -> Tensor:
    """``eps_hat = (alpha * o - p * x) / d``, in float32 at least."""
    p, _ = coefficients(kind, level)
    return (level.alpha * _wide(output) - p * _wide(x)) / determinant(kind, level)


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def denoiser(net: Net, kind: str, labels: Tensor | None = None) -> Denoiser:
    """The denoiser of a network: it tells the network t, and turns its output into x0_hat."""

    def denoise(x: Tensor, level: Level) -> Tensor:
        t = torch.full((len(x),), level.t, device=x.device, dtype=torch.float32)
        return to_x0(kind, net(x, t, labels), x, level)

    return denoise


def split_variance(net: Net) -> tuple[Net, Callable[[Tensor, Level], Tensor]]:
    """A network of 2C output channels as one of C, and the v of its last call.

    ``fraction(x, level) -> v``, shaped as x: DDPM's learned variance is
    ``sigma_s^2 tau`` for v = 0 and ``sigma_t^2 tau`` for v = 1, geometrically between (Nichol and
    Dhariwal 2021, arXiv 2102.09672, eq. 15). The latter C channels are ``2 v - 1``, by nothing but
    their training kept to [-1, 1], as in the paper. Of a batch that guidance has doubled the
    conditional half counts, which comes first.
    """
    raw = torch.empty(0)

    def predict(x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        nonlocal raw
        output, raw = net(x, t, labels).chunk(2, dim=1)
        return output

    def fraction(x: Tensor, level: Level) -> Tensor:
        return to_fraction(raw[: len(x)])

    return predict, fraction


def to_fraction(raw: Tensor) -> Tensor:
    """``v = (raw + 1) / 2``, in float32 at least: 1/2, the geometric mean, of an untrained 0."""
    return (_wide(raw) + 1) / 2
