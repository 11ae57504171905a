"""The U-Nets of diffusers' UNet2DModel that differ from the U-Net of DDPM.

They differ in the frequencies of the time embedding, the padding before the resolution is halved,
the epsilon of the norms, the levels with attention, and the residual blocks. The residual blocks of
ADM (Dhariwal and Nichol 2021, arXiv 2105.05233, section 3) take a scale as well as a shift, and can
resample. `mezzotint.interop.unet` reads the settings of such a U-Net from a folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from pydantic import PositiveFloat, PositiveInt
from pydantic.fields import Field
from torch import Tensor, nn
from tyro.conf import Suppress

from mezzotint.networks.blocks import Attention, Down, Pointwise, ResBlock, Up, beside, zeroed
from mezzotint.networks.conditions import Condition, every
from mezzotint.networks.norm import GroupNorm
from mezzotint.networks.walk import Stage, Walk, inputs, listed
from mezzotint.strict import strict


@strict
class UNet2DConfig:
    """The dimensions of a UNet2DModel; levels are counted from 0, which is the full resolution."""

    channels: tuple[PositiveInt, ...] = (224, 448, 672, 896)
    """Width of each level; each level halves the resolution of the level before."""
    blocks: PositiveInt = 2
    """Residual blocks per level (one more per level on the way up)."""
    attention_down: tuple[int, ...] = (1, 2, 3)
    """The levels with self-attention on the way down."""
    attention_bottom: bool = True
    """Whether the bottom of the U-Net has self-attention."""
    attention_up: tuple[int, ...] = (1, 2, 3)
    """The levels with self-attention on the way up."""
    block_down: tuple[int, ...] = ()
    """The levels at whose end a residual block, not a convolution, halves the resolution."""
    block_up: tuple[int, ...] = ()
    """The levels at whose end a residual block, not a convolution, doubles the resolution."""
    head_width: PositiveInt | None = 8
    """Channels of an attention head; None makes one head of all channels."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout rate in the residual blocks."""
    groups: PositiveInt = 32
    """Groups of the group normalisation; must divide every width."""
    groups_bottom: PositiveInt | None = 32
    """Groups of the norm before the attention at the bottom; None means no norm."""
    eps: PositiveFloat = 1e-5
    """The epsilon of the norms, which is added to the variance."""
    scaled: bool = False
    """Whether the residual blocks take a scale from the time embedding, as well as a shift."""
    around: bool = True
    """Whether a halving convolution is padded on all sides, or on the right and the bottom only."""
    shift: Literal[0, 1] = 0
    """The frequency shift of the time embedding."""
    emb: PositiveInt | None = None
    """Width of the time embedding; None is four times the width of the first level."""
    kind: Suppress[Literal["unet2d"]] = "unet2d"

    def __post_init__(self) -> None:
        if not self.channels or self.channels[0] % 2 or self.channels[0] < 4:
            raise ValueError(
                f"the channels are {self.channels}: choose an even number of 4 or more as the first"
            )
        if bad := [c for c in self.channels if c % self.groups]:
            raise ValueError(
                f"the number of groups is {self.groups}, which does not divide {bad[0]} channels: "
                "choose a divisor of every number of channels"
            )
        if self.head_width and (bad := [c for c in self.channels if c % self.head_width]):
            raise ValueError(
                f"the head width is {self.head_width}, which does not divide {bad[0]} channels: "
                "choose a divisor of every number of channels"
            )

    @property
    def factor(self) -> int:
        """Images are padded until this number divides their sides."""
        return 1 << (len(self.channels) - 1)


class Block(nn.Module):
    """ADM's residual block: ``shortcut(r(x)) + conv(dropout(silu(g(conv(r(silu(norm(x))))))))``.

    r resamples or does nothing. ``shift`` comes from the embedding of the time. g(h) is ``norm(h +
    shift)`` or, if ``config.scaled`` is set, ``norm(h) * (1 + a) + b``, where a and b are the two
    halves of the channels of ``shift``.
    """

    def __init__(self, config: UNet2DConfig, cin: int, cout: int, resample: nn.Module) -> None:
        super().__init__()
        groups, self.scaled = config.groups, config.scaled
        self.norm1 = GroupNorm(cin, groups, silu=True)
        self.resample = resample
        self.conv1 = nn.Conv2d(cin, cout, 3, padding=1)
        self.norm2 = GroupNorm(cout, groups, silu=not self.scaled)
        self.dropout = nn.Dropout(config.dropout)
        self.conv2 = zeroed(nn.Conv2d(cout, cout, 3, padding=1))
        self.shortcut = Pointwise(cin, cout) if cin != cout else nn.Identity()
        self.width = 2 * cout if self.scaled else cout

    def forward(self, x: Tensor, shift: Tensor, skip: Tensor | None = None) -> Tensor:
        """Apply the block to x, or to x and ``skip`` concatenated along the channels."""
        x = x if skip is None else beside(x, skip)
        h, shift = self.conv1(self.resample(self.norm1(x))), shift[:, :, None, None]
        if self.scaled:
            scale, shift = shift.chunk(2, dim=1)
            h = F.silu(self.norm2(h) * (1 + scale) + shift)
        else:
            h = self.norm2(h + shift)
        out: Tensor = self.shortcut(self.resample(x)) + self.conv2(self.dropout(h))
        return out


class UNet2D(Walk):
    """A U-Net that computes the same as diffusers' UNet2DModel with the same weights.

    `UNet` describes the arguments.
    """

    def __init__(
        self,
        config: UNet2DConfig,
        image_channels: int = 3,
        classes: int = 0,
        out_channels: int | None = None,
        augmentation: int = 0,
        conditions: Sequence[Condition] = (),
    ) -> None:
        widths, last = config.channels, len(config.channels) - 1
        first, emb = widths[0], config.emb or 4 * widths[0]

        def stem(channels: int) -> nn.Module:
            return nn.Conv2d(channels, first, 3, padding=1, bias=False)

        super().__init__(first, emb, every(classes, conditions), stem, augmentation, config.shift)
        self.config = config
        down, up = inputs(widths, config.blocks)

        self.stem = nn.Conv2d(image_channels, first, 3, padding=1)
        self.down = listed(
            [
                _stage(config, level, cins, config.attention_down, _halving(config, level))
                for level, cins in enumerate(down)
            ]
        )
        c = widths[-1]
        self.mid_in = _block(config, c, c)
        self.mid_attention = _bottom(config)
        self.mid_out = _block(config, c, c)
        self.up = listed(
            [
                _stage(config, level, cins, config.attention_up, _doubling(config, level))
                for level, cins in zip(reversed(range(last + 1)), up, strict=True)
            ]
        )
        self.widths = [m.width for m in self.modules() if isinstance(m, ResBlock | Block)]
        self.project = nn.Linear(emb, sum(self.widths))
        self.norm = GroupNorm(first, config.groups, silu=True)
        self.out = zeroed(nn.Conv2d(first, out_channels or image_channels, 3, padding=1))
        for layer in self.modules():
            if isinstance(layer, GroupNorm):
                layer.eps = config.eps
        self.laid_out(first)


def _block(config: UNet2DConfig, cin: int, cout: int) -> nn.Module:
    """Return a residual block that does not resample.

    If the embedding only shifts the features, the block is DDPM's, which is faster. If the
    embedding also scales them, the block is ADM's.
    """
    if config.scaled:
        return Block(config, cin, cout, nn.Identity())
    return ResBlock(cin, cout, config.groups, config.dropout)


def _stage(
    config: UNet2DConfig,
    level: int,
    cins: list[int],
    attention: tuple[int, ...],
    resample: nn.Module,
) -> Stage:
    """Make one level of the U-Net; ``cins`` are the numbers of input channels of its blocks."""
    c = config.channels[level]
    blocks = [_block(config, cin, c) for cin in cins]
    attentions = [
        Attention(c, config.groups, config.head_width) if level in attention else nn.Identity()
        for _ in cins
    ]
    return Stage(blocks, attentions, resample)


def _halving(config: UNet2DConfig, level: int) -> nn.Module:
    """Return the layer that halves the resolution at the end of a level.

    For the last level it is the identity.
    """
    c = config.channels[level]
    if level == len(config.channels) - 1:
        return nn.Identity()
    if level in config.block_down:
        return Block(config, c, c, nn.AvgPool2d(2))
    return Down(c, config.around)


def _doubling(config: UNet2DConfig, level: int) -> nn.Module:
    """Return the layer that doubles the resolution at the end of a level.

    For level 0 it is the identity.
    """
    c = config.channels[level]
    if not level:
        return nn.Identity()
    return Block(config, c, c, nn.Upsample(scale_factor=2)) if level in config.block_up else Up(c)


def _bottom(config: UNet2DConfig) -> nn.Module:
    """Return the attention at the bottom of the U-Net, or the identity if there is no attention."""
    if not config.attention_bottom:
        return nn.Identity()
    c = config.channels[-1]
    attention = Attention(c, config.groups_bottom or 1, config.head_width)
    if config.groups_bottom is None:
        attention.norm = nn.Identity()  # type: ignore[assignment]
    return attention
