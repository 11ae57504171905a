"""Conjugate gradients, for each image of a batch by itself."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def solve(
    apply: Callable[[Tensor], Tensor], b: Tensor, iterations: int, tolerance: float = 1e-6
) -> Tensor:
    """Solve ``M x = b`` for a symmetric positive definite M, from x = 0.

    Args:
        apply: ``apply(x) -> M x``, for a batch (B, ...), which does not mix its images.
        b: The right-hand sides, (B, ...).
        iterations: The most products with M. As many as M has distinct eigenvalues are exact.
        tolerance: An image whose residual is this small beside its b is left as it is.

    Returns:
        x (B, ...). Directions in which M is not positive end an image's iterations.
    """
    x, residual = torch.zeros_like(b), b.clone()
    direction, square = residual, _dot(residual, residual)
    enough = tolerance**2 * square
    for _ in range(iterations):
        product = apply(direction)
        curvature = _dot(direction, product)
        going = (square > enough) & (curvature > 0)
        if not going.any():
            break
        length = torch.where(going, square / curvature, 0.0)
        x = x + length * direction
        residual = residual - length * product
        new = _dot(residual, residual)
        direction = residual + torch.where(going, new / square, 0.0) * direction
        square = torch.where(going, new, 0.0)
    return x


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """The inner products of a batch, (B, 1, ..., 1)."""
    return (a * b).flatten(1).sum(1).view(-1, *[1] * (a.ndim - 1))
