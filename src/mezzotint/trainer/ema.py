"""The exponential moving average of the weights, which is what gets sampled."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Tensors: TypeAlias = tuple[Tensor, ...] | list[Tensor]


def decay(step: int, batch: int, halflife: float) -> float:
    """``0.5 ** (batch / h)``, ``h = min(halflife, 0.05 * images seen)``: the weight of the past.

    ``halflife`` is in images, so it means the same at every batch size; the warm-up keeps the
    random initial weights out of the average (Karras et al. 2022, arXiv 2206.00364, appendix F.2).
    """
    return float(0.5 ** (batch / min(halflife, 0.05 * step * batch)))


def averaged(net: nn.Module, batch: int, halflife: float) -> AveragedModel:
    """A copy of ``net`` whose ``update_parameters(net)`` moves it by the decay above."""
    return tracked(net, lambda step: decay(step, batch, halflife))


def tracked(net: nn.Module, decay: Callable[[int], float]) -> AveragedModel:
    """A copy of ``net`` whose ``update_parameters(net)`` number n leaves decay(n) of its past."""

    def update(mean: Tensors, now: Tensors, _: Tensor | int) -> None:
        # Not the count that is given: it is on the device, which would be waited for. It is of the
        # updates before this one; the very first is a plain copy, and not made here.
        torch._foreach_lerp_(mean, now, 1 - decay(int(average.n_averaged) + 1))

    average = AveragedModel(net, multi_avg_fn=update)
    return average
