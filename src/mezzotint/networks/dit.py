"""The diffusion transformer of Peebles and Xie 2022, arXiv 2212.09748, with adaLN-Zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn
from tyro.conf import Suppress

from mezzotint.networks.blocks import attend, sinusoid, zeroed
from mezzotint.networks.conditions import Condition, FromZero, Given, every
from mezzotint.networks.network import Conditioned
from mezzotint.networks.padding import cut, padded
from mezzotint.strict import strict

FREQUENCIES = 256  # width of the sinusoidal embedding of t, as in the authors' code


@strict
class DiTConfig:
    """The dimensions of a DiT; the defaults give DiT-S/2 of Peebles and Xie.

    In their other sizes, (width, depth, heads) is (768, 12, 12) for B, (1024, 24, 16) for L
    and (1152, 28, 16) for XL.
    """

    patch: PositiveInt = 2
    """Side in pixels of the square patch that becomes one token."""
    width: PositiveInt = 384
    """Channels of a token; must be divisible by 4."""
    depth: PositiveInt = 12
    """Number of blocks, each of attention and an MLP."""
    heads: PositiveInt = 6
    """Attention heads; they must divide the width."""
    mlp_eps: Suppress[float] = 1e-6
    """Epsilon of the norm before each MLP. The authors use 1e-6, diffusers 1e-5."""
    kind: Suppress[Literal["dit"]] = "dit"

    def __post_init__(self) -> None:
        if self.width % 4:
            raise ValueError(f"`width` is {self.width}: choose a multiple of 4")
        if self.width % self.heads:
            raise ValueError(
                f"`heads` is {self.heads}: choose a divisor of the `width`, {self.width}"
            )

    @property
    def factor(self) -> int:
        """Images are padded until this number divides their sides."""
        return self.patch


class DiT(Conditioned):
    """A diffusion transformer, ``net(x, t, condition) -> output``.

    Args:
        config: The dimensions of the network.
        image_channels: C, the number of channels of x.
        classes: K, the number of classes; 0 makes an unconditional network.
        out_channels: The number of channels of the output; None means C.
        augmentation: The number of inputs that describe the augmentation; see `forward`.
        conditions: The conditions besides the class.
    """

    def __init__(
        self,
        config: DiTConfig,
        image_channels: int = 3,
        classes: int = 0,
        out_channels: int | None = None,
        augmentation: int = 0,
        conditions: Sequence[Condition] = (),
    ) -> None:
        width, pixels = config.width, config.patch**2

        def stem(channels: int) -> nn.Module:
            return nn.Linear(channels * pixels, width, bias=False)

        super().__init__(FREQUENCIES, width, every(classes, conditions), stem, augmentation)
        self.config = config
        self.stem = nn.Linear(image_channels * pixels, width)
        blocks = nn.ModuleList(
            Block(width, config.heads, config.mlp_eps) for _ in range(config.depth)
        )
        self.blocks = cast(list[Block], blocks)
        self.modulation = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, (out_channels or image_channels) * pixels)
        self.initialise()

    def initialise(self) -> None:
        """Initialise weights as Peebles and Xie do: each block is the identity, the output is 0."""
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        encoders = [self.get_submodule(each.module) for each in self.conditions]
        for embedding in (self.time[0], self.time[2], *encoders, self.augmentation):
            if isinstance(embedding, nn.Linear | nn.Embedding):
                nn.init.normal_(embedding.weight, std=0.02)
            elif isinstance(embedding, FromZero):
                embedding.initialise()
        for block in self.blocks:
            zeroed(block.modulation)
        zeroed(self.modulation)
        zeroed(self.out)

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        condition: Given | Tensor | None = None,
        augmentation: Tensor | None = None,
    ) -> Tensor:
        """Compute the network's output for noisy images.

        If ``config.factor`` does not divide the height or the width of x, x is padded, and the
        output is cropped to the size of x.

        Args:
            x: Noisy images (B, C, H, W).
            t: Times (B,), from 0 to T - 1.
            condition: The conditions by name, or the tensor of the only condition, such as classes
                (B,) int64 from 0 to K, where K is the null class. Missing conditions are null; None
                makes all of them null.
            augmentation: Numbers (B, n) that describe how x was augmented; None means zeros.

        Returns:
            The output (B, C or ``out_channels``, H, W), in the type of x.

        Raises:
            UserError: If the network does not take a given condition or a given ``augmentation``,
                or if ``condition`` is a tensor but the network has several conditions.
        """
        given = self.named(condition, t)
        c = F.silu(self.embed(t, given, augmentation))
        h, w = (-(-side // self.config.patch) for side in x.shape[2:])
        tokens = self.stem(self.folded(x).to(self.dtype))
        tokens = self.beside(tokens, given, x, self.folded)
        tokens = tokens + positions(h, w, self.config.width, x.device).to(self.dtype)
        for block in self.blocks:
            tokens = block(tokens, c)
        shift, scale = self.modulation(c)[:, None].chunk(2, dim=-1)
        out = self.out(adaptive_norm(tokens, shift, scale)).transpose(1, 2).unflatten(2, (h, w))
        return cut(F.pixel_shuffle(out, self.config.patch).to(x.dtype), x)

    def folded(self, x: Tensor) -> Tensor:
        """Pad images and split them into patches (B, tokens, C * patch * patch)."""
        whole = padded(x, self.config.factor)
        return F.pixel_unshuffle(whole, self.config.patch).flatten(2).transpose(1, 2)


class Block(nn.Module):
    """Attention over the tokens, then an MLP, each as ``x + gate * f(adaptive_norm(x))``.

    x is (B, tokens, width). Attention and MLP have a shift, a scale and a gate each, which are
    linear functions of the condition vector c (B, width).
    """

    def __init__(self, width: int, heads: int, mlp_eps: float) -> None:
        super().__init__()
        self.heads, self.mlp_eps = heads, mlp_eps
        self.modulation = nn.Linear(width, 6 * width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """Apply the block to tokens x (B, tokens, width); c (B, width) is the condition vector."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(c)[:, None].chunk(6, dim=-1)
        x = x + gate1 * self.attended(adaptive_norm(x, shift1, scale1))
        out: Tensor = x + gate2 * self.mlp(adaptive_norm(x, shift2, scale2, self.mlp_eps))
        return out

    def attended(self, x: Tensor) -> Tensor:
        """Apply self-attention to the tokens x (B, tokens, width)."""
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        out: Tensor = self.out(attend(q, k, v).transpose(1, 2).flatten(2))
        return out


def adaptive_norm(x: Tensor, shift: Tensor, scale: Tensor, eps: float = 1e-6) -> Tensor:
    """Compute adaLN, ``layer_norm(x) * (1 + scale) + shift``; shift and scale are (B, 1, width)."""
    return F.layer_norm(x, x.shape[-1:], eps=eps) * (1 + scale) + shift


def positions(h: int, w: int, width: int, device: torch.device) -> Tensor:
    """Return the fixed embedding (h * w, width) of the positions in a grid of h x w tokens.

    The positions run row by row. The first half of an embedding encodes the column, the second half
    the row. Each half has the sines and then the cosines of ``position * 10000^(-k / (width/4))``
    for k = 0..width/4 - 1.
    """

    def along(count: int) -> Tensor:
        # The embedding needs the frequency shift 0. `sinusoid`, whose shift is 1 by default, gives
        # the same values if it computes one frequency more, and the last frequency is left out.
        waves = sinusoid(torch.arange(count, device=device), width // 2 + 2)
        return waves.view(count, 2, -1)[:, :, :-1].flatten(1)

    rows, columns = along(h)[:, None], along(w)[None]
    return torch.cat([columns.expand(h, -1, -1), rows.expand(-1, w, -1)], dim=2).flatten(0, 1)
