"""The exponential moving average of the weights, which is used for sampling."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Tensors: TypeAlias = tuple[Tensor, ...] | list[Tensor]


def decay(step: int, batch: int, halflife: float) -> float:
    """Return ``0.5 ** (batch / h)``, with ``h = min(halflife, 0.05 * images seen)``.

    This is the factor of the old average in the update after a step; the new weights get the rest.
    ``halflife`` is in images, so it does not depend on the batch size. At first h is short, which
    keeps the random initial weights out of the average (Karras et al. 2022, arXiv 2206.00364,
    appendix F.2).
    """
    return float(0.5 ** (batch / min(halflife, 0.05 * step * batch)))


def averaged(net: nn.Module, batch: int, halflife: float) -> AveragedModel:
    """Return a copy of a network, to hold the average of the network's weights.

    Call ``update_parameters(net)`` on the copy after each step; see `tracked`. Each update
    multiplies the old average by `decay`.
    """
    return tracked(net, lambda step: decay(step, batch, halflife))


def tracked(net: nn.Module, decay: Callable[[int], float]) -> AveragedModel:
    """Return a copy of a network, to hold the average of the network's weights.

    Call ``update_parameters(net)`` on the copy after each step. The first call copies the weights.
    In the n-th call, the old average has the factor ``decay(n)``.
    """

    def update(mean: Tensors, now: Tensors, _: Tensor | int) -> None:
        # The third argument is the number of updates, but it is on the device, and reading it
        # would wait for the device. AveragedModel makes the first update itself, as a plain copy.
        torch._foreach_lerp_(mean, now, 1 - decay(int(average.n_averaged) + 1))

    average = AveragedModel(net, multi_avg_fn=update)
    return average
