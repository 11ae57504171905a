"""The diffusion transformer: Peebles and Xie 2022, arXiv 2212.09748, with adaLN-Zero."""

from __future__ import annotations

from typing import Literal, cast

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn
from tyro.conf import Suppress

from mezzotint.networks.blocks import attend, sinusoid, zeroed
from mezzotint.networks.network import Conditioned
from mezzotint.strict import strict

FREQUENCIES = 256  # of the time's sinusoid, as in the paper's code


@strict
class DiTConfig:
    """The shape of a DiT; the defaults are the paper's S/2.

    B, L and XL are width 768, depth 12, heads 12; 1024, 24, 16; 1152, 28, 16.
    """

    patch: PositiveInt = 2
    """A token is patch x patch pixels."""
    width: PositiveInt = 384
    """Channels of a token."""
    depth: PositiveInt = 12
    """Blocks of attention and MLP."""
    heads: PositiveInt = 6
    """Attention heads; they must divide the width."""
    kind: Suppress[Literal["dit"]] = "dit"

    def __post_init__(self) -> None:
        if self.width % 4:
            raise ValueError(f"width is {self.width}: it must be divisible by 4")
        if self.width % self.heads:
            raise ValueError(f"heads {self.heads} do not divide a width of {self.width} channels")

    @property
    def factor(self) -> int:
        """What the sides of an image must be divisible by."""
        return self.patch


class DiT(Conditioned):
    """``net(x, t, labels) -> output``: x and output (B, C, H, W), t (B,), labels (B,) or None.

    Of ``classes`` K > 0 it is class-conditional: labels are 0..K-1, and K is the null class, which
    ``labels=None`` means too. H and W must be divisible by ``config.factor``. Where
    ``out_channels`` is given, output has that many in place of C. Where ``told`` is given, it takes
    that many numbers beside, told (B, told), of which zeros or None add nothing.
    """

    def __init__(
        self,
        config: DiTConfig,
        image_channels: int = 3,
        classes: int = 0,
        out_channels: int | None = None,
        told: int = 0,
    ) -> None:
        width, pixels = config.width, config.patch**2
        super().__init__(FREQUENCIES, width, classes, told)
        self.config = config
        self.stem = nn.Linear(image_channels * pixels, width)
        blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.depth))
        self.blocks = cast(list[Block], blocks)
        self.modulation = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, (out_channels or image_channels) * pixels)
        self.initialise()

    def initialise(self) -> None:
        """The paper's start: every block is the identity, and the output is zero."""
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        for embedding in (self.time[0], self.time[2], self.label, self.augmentation):
            if isinstance(embedding, nn.Linear | nn.Embedding):
                nn.init.normal_(embedding.weight, std=0.02)
        for block in self.blocks:
            zeroed(block.modulation)
        zeroed(self.modulation)
        zeroed(self.out)

    def forward(
        self, x: Tensor, t: Tensor, labels: Tensor | None = None, told: Tensor | None = None
    ) -> Tensor:
        c = F.silu(self.embed(t, labels, told))
        patches = F.pixel_unshuffle(x, self.config.patch).to(self.dtype)
        h, w = patches.shape[2:]
        tokens = self.stem(patches.flatten(2).transpose(1, 2))
        tokens = tokens + positions(h, w, self.config.width, x.device).to(self.dtype)
        for block in self.blocks:
            tokens = block(tokens, c)
        shift, scale = self.modulation(c)[:, None].chunk(2, dim=-1)
        out = self.out(adaptive_norm(tokens, shift, scale)).transpose(1, 2).unflatten(2, (h, w))
        return F.pixel_shuffle(out, self.config.patch).to(x.dtype)


class Block(nn.Module):
    """Attention over the tokens, then an MLP, each ``x + gate * f(adaptive_norm(x))``.

    x (B, tokens, width); shift, scale and gate of both are linear in c (B, width).
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.modulation = nn.Linear(width, 6 * width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(c)[:, None].chunk(6, dim=-1)
        x = x + gate1 * self.attended(adaptive_norm(x, shift1, scale1))
        out: Tensor = x + gate2 * self.mlp(adaptive_norm(x, shift2, scale2))
        return out

    def attended(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        out: Tensor = self.out(attend(q, k, v).transpose(1, 2).flatten(2))
        return out


def adaptive_norm(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """``layer_norm(x) * (1 + scale) + shift``, the paper's adaLN; shift and scale (B, 1, width)."""
    return F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift


def positions(h: int, w: int, width: int, device: torch.device) -> Tensor:
    """The fixed embedding (h * w, width) of a grid's places, row by row.

    Its first half tells the column, its second the row, each by sines, then cosines, of
    ``place * 10000^(-k / (width/4))``, k = 0..width/4 - 1.
    """

    def along(count: int) -> Tensor:
        # Frequency shift 0, where sinusoid's is 1: as if of one frequency more, which is left out.
        waves = sinusoid(torch.arange(count, device=device), width // 2 + 2)
        return waves.view(count, 2, -1)[:, :, :-1].flatten(1)

    rows, columns = along(h)[:, None], along(w)[None]
    return torch.cat([columns.expand(h, -1, -1), rows.expand(-1, w, -1)], dim=2).flatten(0, 1)
