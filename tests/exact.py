"""An exact denoiser of Gaussian data."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from mezzotint.diffusion.schedules import cosine
from mezzotint.networks.network import Network
from mezzotint.pipeline.pipeline import Pipeline

FLAT_VAR, PIXEL_VAR, SIDE = 0.04, 0.005, 16


class Exact(Network):
    """The network of an exact denoiser of Gaussian data.

    Each channel of an image has a colour from N(m, 0.04), and its pixels vary about the colour by
    N(0, 0.005). m is -0.4 in one class and 0.4 in the other. ``wrong`` is added to the output. If
    ``told`` is not set, the network ignores the class and takes m = 0.
    """

    def __init__(self, wrong: float = 0.0, told: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.wrong, self.told, self.schedule = wrong, told, cosine(1000)

    def forward(self, x: Tensor, t: Tensor, condition: dict[str, Tensor] | Tensor | None) -> Tensor:
        labels = condition["label"] if isinstance(condition, dict) else condition
        angle = torch.from_numpy(np.interp(t, range(1000), self.schedule.angles[1:].numpy()))
        alpha, sigma = (f(angle).float().view(-1, 1, 1, 1) for f in (torch.cos, torch.sin))
        shift = torch.zeros(len(x), 1, 1, 1)
        if labels is not None and self.told:
            shift = (0.8 * labels.view(-1, 1, 1, 1) - 0.4) * (labels < 2).view(-1, 1, 1, 1)
        x = x - alpha * shift
        mean, v = x.mean((2, 3), keepdim=True), FLAT_VAR + PIXEL_VAR / SIDE**2
        colour = alpha * v / (alpha**2 * v + sigma**2 / SIDE**2) * mean
        rest = alpha * PIXEL_VAR / (alpha**2 * PIXEL_VAR + sigma**2) * (x - mean)
        return shift + colour + rest + self.wrong


def gaussian(labels: Tensor) -> Tensor:
    """Return images of this Gaussian data, in [-1, 1]."""
    draw = torch.Generator().manual_seed(1)
    x = PIXEL_VAR**0.5 * torch.randn(len(labels), 3, SIDE, SIDE, generator=draw)
    x = x + FLAT_VAR**0.5 * torch.randn(len(labels), 3, 1, 1, generator=draw)
    return x + 0.8 * labels.view(-1, 1, 1, 1) - 0.4


def exact(**fields: object) -> Pipeline:
    return Pipeline(Exact(**fields), cosine(1000), "x0", (3, SIDE, SIDE), ("a", "b"))


def bytes_of(x: Tensor) -> Tensor:
    return (127.5 * (x + 1)).round().clamp(0, 255).to(torch.uint8)
