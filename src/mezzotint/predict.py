"""What a network predicts, and the denoiser made of it.

A prediction type is two numbers (p, q) at a level: the network is trained to output
``o = p * x0 + q * eps``. Since ``x = alpha * x0 + sigma * eps``, with ``d = q * alpha - p * sigma``

    x0_hat = (q * x - sigma * o) / d          eps_hat = (alpha * o - p * x) / d
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from mezzotint.errors import UserError
from mezzotint.noise import Level, Number

Net: TypeAlias = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""``net(x, t, labels) -> output``: x (B, C, H, W), t (B,), labels (B,) int64 or None."""

Denoiser: TypeAlias = Callable[[Tensor, Level], Tensor]
"""``denoise(x, level) -> x0_hat``, shaped as x: all that a sampler knows of a network."""

PREDICTIONS = ("eps", "x0", "v", "flow")


def coefficients(kind: str, level: Level[Number]) -> tuple[Number | float, Number | float]:
    """(p, q) of a prediction type: eps, x0, v (Salimans and Ho 2022) or flow (Lipman et al. 2023).

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
    raise UserError(f"unknown prediction type {kind!r}: choose one of {', '.join(PREDICTIONS)}")


def target(kind: str, x0: Tensor, eps: Tensor, level: Level[Number]) -> Tensor:
    """What the network is trained to output: ``p * x0 + q * eps``."""
    p, q = coefficients(kind, level)
    return p * x0 + q * eps


def to_x0(kind: str, output: Tensor, x: Tensor, level: Level[Number]) -> Tensor:
    """``x0_hat = (q * x - sigma * o) / d``, in float32 at least: near noise 1/alpha passes 10^4."""
    p, q = coefficients(kind, level)
    return (q * _wide(x) - level.sigma * _wide(output)) / (q * level.alpha - p * level.sigma)


def to_eps(kind: str, output: Tensor, x: Tensor, level: Level[Number]) -> Tensor:
    """``eps_hat = (alpha * o - p * x) / d``, in float32 at least."""
    p, q = coefficients(kind, level)
    return (level.alpha * _wide(output) - p * _wide(x)) / (q * level.alpha - p * level.sigma)


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def denoiser(net: Net, kind: str, labels: Tensor | None = None) -> Denoiser:
    """The denoiser of a network: it tells the network t, and turns its output into x0_hat."""

    def denoise(x: Tensor, level: Level) -> Tensor:
        t = torch.full((len(x),), level.t, device=x.device, dtype=torch.float32)
        return to_x0(kind, net(x, t, labels), x, level)

    return denoise
