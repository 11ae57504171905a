"""Networks as a user may write them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Own(nn.Module):
    """A small network with classes and a null class, dropout, batch norm and tied weights."""

    def __init__(self, width: int = 8, classes: int = 10, channels: int = 3) -> None:
        super().__init__()
        self.embed = nn.Embedding(classes + 1, width)
        self.time = nn.Linear(1, width)
        self.into = nn.Conv2d(channels, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.middle = nn.Conv2d(width, width, 1)
        self.again = nn.Conv2d(width, width, 1)
        self.again.weight = self.middle.weight
        self.out = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        told = self.embed(condition) + self.time(t[:, None] / 1000)
        h = self.norm(self.into(x)) + told[:, :, None, None]
        h = h + self.again(F.silu(self.middle(F.silu(h))))
        return self.out(F.dropout(h, 0.1, self.training))


class Plain(nn.Module):
    """A network without classes."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.out = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor, condition: None) -> Tensor:
        assert condition is None
        return self.scale * self.out(x)


class Wrong(nn.Module):
    """A network whose output is wrong in the way ``how``."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.weight = how, nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None) -> object:
        y = self.weight * x
        shapes = {"channels": y[:, :1], "sides": y[:, :, 1:], "tuple": (y,), "double": y.double()}
        return shapes.get(self.how, torch.cat([y, y], 1))


class Lacking(nn.Module):
    """A network without the argument for the condition."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.weight * x
