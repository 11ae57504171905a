"""Conjugate gradients, independently for each image of a batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

TOLERANCE = 1e-6  # iteration stops once the norm of the residual is so small, relative to b


def solve(apply: Callable[[Tensor], Tensor], b: Tensor, iterations: int) -> Tensor:
    """Solve ``M x = b`` for a symmetric positive definite M, from x = 0.

    Args:
        apply: ``apply(x) -> M x`` for a batch (B, ...); it must not mix the images of the batch.
        b: The right-hand sides, (B, ...).
        iterations: The largest number of products with M. The result is exact if M has at most
            ``iterations`` distinct eigenvalues.

    Returns:
        x, (B, ...). The iteration for an image stops when the norm of the residual is at most
        TOLERANCE times the norm of b, or when ``d^T M d`` is not positive for the search direction
        d.
    """
    x, residual = torch.zeros_like(b), b.clone()
    direction, square = residual, _dot(residual, residual)
    enough = TOLERANCE**2 * square
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
    """Return the inner product of a and b for each image of the batch, (B, 1, ..., 1)."""
    return (a * b).flatten(1).sum(1).view(-1, *[1] * (a.ndim - 1))
