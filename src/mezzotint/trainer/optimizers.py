"""The optimizers of a training, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import nn

from mezzotint.errors import Registry
from mezzotint.trainer.muon import Muon, matrices

Build: TypeAlias = Callable[[nn.Module, float, float], torch.optim.Optimizer]
"""``build(net, lr, weight_decay)`` makes an optimizer. Its state must consist of tensors, and every
step must read ``param_groups``, because the learning rate changes there."""


def adamw(net: nn.Module, lr: float, weight_decay: float) -> torch.optim.AdamW:
    """Return fused AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) for all trained weights."""
    return torch.optim.AdamW(_trained(net), lr=lr, weight_decay=weight_decay, fused=True)


def muon(net: nn.Module, lr: float, weight_decay: float) -> Muon:
    """Return Muon for matrices and convolutions, with AdamW for the rest; see the module muon."""
    chosen = matrices(net)
    groups: list[dict[str, Any]] = [
        {"params": [p for p in _trained(net) if p in chosen], "matrices": True},
        {"params": [p for p in _trained(net) if p not in chosen]},
    ]
    return Muon([g for g in groups if g["params"]], lr, weight_decay)


OPTIMIZERS: Registry[Build] = Registry("optimizer", {"adamw": adamw, "muon": muon})


def _trained(net: nn.Module) -> list[nn.Parameter]:
    """Return the weights of a network that require a gradient."""
    return [parameter for parameter in net.parameters() if parameter.requires_grad]
