"""The U-Net of DDPM, and smaller ones in its likeness.

Ho et al. 2020, arXiv 2006.11239, appendix B: with UNetConfig's defaults it is their CIFAR-10
network, 35,746,307 parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, cast

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from tyro.conf import Suppress

from mezzotint.networks.blocks import Attention, Down, ResBlock, Up, zeroed
from mezzotint.networks.network import Conditioned
from mezzotint.networks.norm import GroupNorm
from mezzotint.strict import strict

WIDE = 128  # from this width on training on a CPU is channels-last, below it is compiled


@strict
class UNetConfig:
    """The shape of a U-Net; levels are counted from 0, the full resolution."""

    channels: tuple[PositiveInt, ...] = (128, 256, 256, 256)
    """Width of each level; each level halves the resolution of the one before."""
    blocks: PositiveInt = 2
    """Residual blocks a level (and one more on the way up)."""
    attention: tuple[int, ...] = (1,)
    """The levels with self-attention, besides the bottom, which always has it."""
    head_width: PositiveInt | None = None
    """Channels an attention head; None is one head."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout within the residual blocks."""
    groups: PositiveInt = 32
    """Groups of the group normalisation; they must divide every width."""
    patch: PositiveInt = 1
    """Fold patch x patch pixels into channels first: a network at 1 / patch of the resolution."""
    kind: Suppress[Literal["unet"]] = "unet"

    def __post_init__(self) -> None:
        if not self.channels:
            raise ValueError("channels is empty: give a width for each level")
        if self.channels[0] % 2 or self.channels[0] < 4:
            raise ValueError(f"the first width is {self.channels[0]}: it must be even, 4 or more")
        if bad := [c for c in self.channels if c % self.groups]:
            raise ValueError(f"groups {self.groups} do not divide a width of {bad[0]} channels")
        if bad := [i for i in self.attention if not 0 <= i < len(self.channels)]:
            raise ValueError(
                f"attention at level {bad[0]}: levels are 0 to {len(self.channels) - 1}"
            )
        if self.head_width and (bad := [c for c in self.channels if c % self.head_width]):
            raise ValueError(f"head_width {self.head_width} does not divide {bad[0]} channels")

    @property
    def factor(self) -> int:
        """What the sides of an image must be divisible by."""
        return self.patch << (len(self.channels) - 1)


class Stage(nn.Module):
    """One level: residual blocks, each followed by attention or nothing, then a resampling."""

    def __init__(
        self, config: UNetConfig, level: int, cins: list[int], resample: nn.Module
    ) -> None:
        super().__init__()
        c, g = config.channels[level], config.groups
        self.blocks = nn.ModuleList(ResBlock(cin, c, g, config.dropout) for cin in cins)
        self.attentions = nn.ModuleList(
            Attention(c, g, config.head_width) if level in config.attention else nn.Identity()
            for _ in cins
        )
        self.resample = resample

    def layers(self) -> Iterator[tuple[nn.Module, nn.Module]]:
        return zip(self.blocks, self.attentions, strict=True)


class UNet(Conditioned):
    """``net(x, t, labels) -> output``: x and output (B, C, H, W), t (B,), labels (B,) or None.

    Of ``classes`` K > 0 it is class-conditional: labels are 0..K-1, and K is the null class, which
    ``labels=None`` means too. H and W must be divisible by ``config.factor``. Where
    ``out_channels`` is given, output has that many in place of C. Where ``told`` is given, it takes
    that many numbers beside, told (B, told), of which zeros or None add nothing.
    """

    def __init__(
        self,
        config: UNetConfig,
        image_channels: int = 3,
        classes: int = 0,
        out_channels: int | None = None,
        told: int = 0,
    ) -> None:
        widths, last = config.channels, len(config.channels) - 1
        first, emb = widths[0], 4 * widths[0]
        super().__init__(first, emb, classes, told)
        self.config = config

        self.stem = nn.Conv2d(image_channels * config.patch**2, first, 3, padding=1)
        down: list[Stage] = []
        skips = [first]  # the widths of what the way up will be handed, last in first out
        for level, (cin, c) in enumerate(pairwise([first, *widths])):
            cins = [cin] + [c] * (config.blocks - 1)
            resample = Down(c) if level < last else nn.Identity()
            down.append(Stage(config, level, cins, resample))
            skips += [c] * (config.blocks + (level < last))
        # A ModuleList is a list of Stages to a reader and to the type checker.
        self.down = cast(list[Stage], nn.ModuleList(down))

        c, g, drop = widths[-1], config.groups, config.dropout
        self.mid_in = ResBlock(c, c, g, drop)
        self.mid_attention = Attention(c, g, config.head_width)
        self.mid_out = ResBlock(c, c, g, drop)

        up: list[Stage] = []
        for level in reversed(range(last + 1)):
            cins = []
            for _ in range(config.blocks + 1):
                cins.append(c + skips.pop())
                c = widths[level]
            up.append(Stage(config, level, cins, Up(c) if level else nn.Identity()))
        self.up = cast(list[Stage], nn.ModuleList(up))

        # One product tells all residual blocks, in the order of the walk, the time and the class.
        self.widths = [m.width for m in self.modules() if isinstance(m, ResBlock)]
        self.project = nn.Linear(emb, sum(self.widths))

        self.norm = GroupNorm(first, config.groups, silu=True)
        outputs = (out_channels or image_channels) * config.patch**2
        self.out = zeroed(nn.Conv2d(first, outputs, 3, padding=1))
        self.narrow = first < WIDE
        if not self.narrow:
            self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def gains(self) -> bool:  # type: ignore[override]
        """To train a wide one it would too, but take half as much memory again."""
        return self.narrow or not self.training

    def forward(
        self, x: Tensor, t: Tensor, labels: Tensor | None = None, told: Tensor | None = None
    ) -> Tensor:
        emb = F.silu(self.embed(t, labels, told))
        shifts = iter(self.project(emb).split(self.widths, dim=1))
        h = self.stem(F.pixel_unshuffle(x, self.config.patch).to(self.dtype))
        skips = [h]
        for stage in self.down:
            for block, attend in stage.layers():
                h = attend(block(h, next(shifts)))
                skips.append(h)
            if isinstance(stage.resample, Down):
                h = stage.resample(h)
                skips.append(h)
        h = self.mid_in(h, next(shifts))
        h = self.mid_out(self.mid_attention(h), next(shifts))
        for stage in self.up:
            for block, attend in stage.layers():
                h = attend(block(h, next(shifts), skips.pop()))
            h = stage.resample(h)
        return F.pixel_shuffle(self.out(self.norm(h)), self.config.patch).to(x.dtype)
