"""The patch discriminator and its loss.

Isola et al. 2017, arXiv 1611.07004, designed the discriminator. Esser et al. 2021, arXiv
2012.09841, use it to train autoencoders.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.errors import UserError


class Discriminator(nn.Module):
    """Map images x (B, C, H, W) in [-1, 1] to one logit for each patch.

    The logits are (B, 1, H / 2^layers - 2, W / 2^layers - 2). A higher logit means a more realistic
    patch. ``layers`` convolutions halve the resolution. The number of channels begins at ``width``
    and doubles with each layer, up to 8 times ``width``. A logit depends on 70x70 pixels with 3
    layers and on 34x34 with 2. Isola et al. normalise over the batch; this network normalises over
    groups of channels, because the statistics of a batch would differ between processes, and would
    reveal whether the batch is real.

    Raises UserError for an image whose height or width is below 3 * 2^layers.
    """

    def __init__(self, image_channels: int = 3, width: int = 64, layers: int = 3) -> None:
        super().__init__()
        self.least = 3 << layers
        stack: list[nn.Module] = [
            nn.Conv2d(image_channels, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        c = width
        for layer in range(1, layers + 1):
            cin, c = c, width * min(2**layer, 8)
            stride = 2 if layer < layers else 1
            stack += [
                nn.Conv2d(cin, c, 4, stride=stride, padding=1, bias=False),
                nn.GroupNorm(math.gcd(32, c), c),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        self.stack = nn.Sequential(*stack, nn.Conv2d(c, 1, 4, padding=1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[2:]
        if min(h, w) < self.least:
            raise UserError(
                f"images of {h}x{w} (height x width) are too small for this discriminator: use "
                f"images of at least {self.least} pixels a side"
            )
        out: Tensor = self.stack(x)
        return out.to(x.dtype)


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    """Return the hinge loss of the discriminator, from its logits of real and of fake images.

    It is ``mean(relu(1 - real)) / 2 + mean(relu(1 + fake)) / 2``, which is 1 if all logits are 0.
    The autoencoder, which makes the fake images, has the loss ``-mean(fake)``.
    """
    return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2
