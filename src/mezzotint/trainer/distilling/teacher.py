"""The teacher of a distillation: a network with guidance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from mezzotint.devices import autocast
from mezzotint.diffusion.level import Level
from mezzotint.diffusion.prediction import to_x0
from mezzotint.networks.conditions import Condition, Given
from mezzotint.trainer.loop import Examples

Teacher: TypeAlias = Callable[[Tensor, Level[Tensor], Examples], tuple[Tensor, Tensor]]
"""``teacher(x, level, examples) -> (x0_c, push)``: the conditional estimate, and the ``(scale - 1)
(x0_c - x0_u)`` that guidance adds to it, where x0_u is the unconditional estimate.
"""


def called(
    net: Callable[..., Tensor], x: Tensor, t: Tensor, condition: Given, numbers: Tensor | None
) -> Tensor:
    """Call a network, and return its prediction without the channels of predicted variances.

    ``numbers`` (B, n) describe the augmentation, if the network is conditioned on it.
    """
    more = {} if numbers is None else {"augmentation": numbers}
    return net(x, t, condition or None, **more)[:, : x.shape[1]]


def guide(
    net: Callable[..., Tensor],
    prediction: str,
    conditions: Sequence[Condition],
    scale: float,
    within: tuple[float, float] | None = None,
) -> Teacher:
    """Make a teacher from a network and the guidance scale ``scale``.

    If ``within`` is given, the scale is 1 except at levels with ``within[0] <= sigma / alpha <=
    within[1]``.

    The conditional estimate, and the unconditional estimate with null conditions, come from one
    call with a doubled batch. At scale 1, or without conditions, there is only one estimate. The
    teacher computes in the type of its weights, and ignores the autocast of the training.
    """

    def estimates(
        x: Tensor, level: Level[Tensor], given: Given, numbers: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        if not given or scale == 1:
            x0 = to_x0(prediction, called(net, x, level.t, given, numbers), x, level)
            return x0, torch.zeros_like(x0)
        output = called(
            net,
            torch.cat([x, x]),
            torch.cat([level.t, level.t]),
            {
                each.name: torch.cat([given[each.name], each.null(len(x), x.device)])
                for each in conditions
            },
            None if numbers is None else torch.cat([numbers, numbers]),
        )
        cond, uncond = (to_x0(prediction, half, x, level) for half in output.chunk(2))
        push = (scale - 1) * (cond - uncond)
        if within:
            ratio = level.sigma / level.alpha
            push = push * ((ratio >= within[0]) & (ratio <= within[1]))
        return cond, push

    def teacher(x: Tensor, level: Level[Tensor], examples: Examples) -> tuple[Tensor, Tensor]:
        with autocast(x.device, torch.float32):
            return estimates(x, level, examples.condition, examples.augmentation)

    return teacher
