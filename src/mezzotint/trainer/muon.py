"""Muon for the matrices of a network, AdamW for the rest.

Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon), with the step size of Liu et al.
2025 (arXiv 2502.16982). For a matrix W (m, n), with gradient g, momentum b, mu = MOMENTUM, learning
rate lr and weight decay ``decay``:

    b <- mu b + (1 - mu) g
    W <- (1 - lr * decay) W - lr * 0.2 sqrt(max(m, n)) * polar((1 - mu) g + mu b)

``polar`` keeps the singular vectors and sets the singular values to about 1, so the elements of its
result have a mean square of ``1 / max(m, n)``. The factor ``0.2 sqrt(max(m, n))`` raises the root
mean square to 0.2, about the size of AdamW's updates, so Muon and AdamW can use the same learning
rate and weight decay. The weight of a convolution is treated as a matrix with a row for each output
channel.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from mezzotint.trainer.sharding import like, whole

MOMENTUM = 0.95
RMS = 0.2  # root mean square of an update before the learning rate, about as for AdamW
# The coefficients of the polynomial in `polar`. In five steps they raise small singular values as
# fast as possible.
A, B, C = 3.4445, -4.7750, 2.0315
STEPS = 5
ENDS = ("stem", "out")  # the first and last layers of all networks in mezzotint


def matrices(net: nn.Module) -> set[Tensor]:
    """Return the weights that Muon trains: matrices and convolutions.

    Embeddings and the first and last layer are left out, because equal singular values would not
    suit them (Jordan et al. 2024). An embedding is a table of vectors, and the first and last layer
    have only a few channels on one side.
    """
    chosen: set[Tensor] = set()
    for name, module in net.named_modules():
        if name not in ENDS and not isinstance(module, nn.Embedding):
            chosen |= {p for p in module.parameters(recurse=False) if p.ndim > 1}
    return {p for p in chosen if p.requires_grad}


def polar(matrix: Tensor) -> Tensor:
    """Return ``U S' V^T`` for a matrix ``X = U S V^T`` (m, n), float32, where S' is about 1.

    A singular value 0 stays 0. Five steps of the odd polynomial ``s <- A s + B s^3 + C s^5``,
    starting from ``s = S / |X|`` (the Frobenius norm), take every s in [0.002, 1] into [0.68,
    1.21]. Each step multiplies X by a polynomial of the smaller Gram matrix, such as ``X X^T``.
    These polynomials commute, so the product of all five is computed first, and then multiplied by
    X. So X takes part in only two products instead of ten.
    """
    x = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = x / x.norm().clamp(min=1e-12)
    gram = x @ x.T
    total = identity = torch.eye(len(x), device=x.device)
    for _ in range(STEPS):
        step = A * identity + B * gram + C * gram @ gram
        total, gram = step @ total, step @ gram @ step
    result: Tensor = total @ x
    return result if matrix.shape[0] <= matrix.shape[1] else result.T


class Muon(torch.optim.Optimizer):
    """Muon for the parameter groups marked ``matrices``, and fused AdamW for the other groups.

    If weights are divided among processes (`mezzotint.trainer.sharding`), each process computes the
    update of the whole matrix and keeps its own part.

    The state consists of tensors, as AdamW's does, so `mezzotint.trainer.state` can save and
    restore it.
    """

    def __init__(
        self, groups: Iterable[dict[str, Any]], lr: float, weight_decay: float = 0.0
    ) -> None:
        # AdamW cannot be made without weights, so it gets an empty tensor. `step` sets its groups.
        self.adamw = torch.optim.AdamW(
            [torch.zeros(0)], lr=lr, weight_decay=weight_decay, fused=True
        )
        super().__init__(groups, {**self.adamw.defaults, "matrices": False})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update all weights that have a gradient."""
        # In every step, because restoring a saved state replaces the state and the groups.
        self.adamw.state = self.state
        self.adamw.param_groups = [g for g in self.param_groups if not g["matrices"]]
        self.adamw.step()
        for group in self.param_groups:
            if group["matrices"]:
                for weight in group["params"]:
                    if weight.grad is not None:
                        self.move(weight, weight.grad, group["lr"], group["weight_decay"])

    def move(self, weight: Tensor, gradient: Tensor, lr: float, decay: float) -> None:
        """Update one weight by the formula at the top of this file."""
        if not self.state[weight]:
            self.state[weight]["momentum"] = torch.zeros_like(weight)
        momentum = self.state[weight]["momentum"].lerp_(gradient, 1 - MOMENTUM)
        wanted = whole(gradient.lerp(momentum, MOMENTUM))  # a divided matrix is put together
        matrix = wanted.flatten(1)
        update = like(polar(matrix.float()).view_as(wanted), weight)
        size = RMS * math.sqrt(max(matrix.shape))
        weight.mul_(1 - lr * decay).sub_(update, alpha=lr * size)
