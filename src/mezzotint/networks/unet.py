"""The U-Net of DDPM, and smaller U-Nets of the same design.

See Ho et al. 2020, arXiv 2006.11239, appendix B. UNetConfig's defaults give their CIFAR-10 network
of 35,746,307 parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, PositiveInt
from torch import nn
from tyro.conf import Suppress

from mezzotint.networks.blocks import Attention, Down, ResBlock, Up, zeroed
from mezzotint.networks.conditions import Condition, every
from mezzotint.networks.norm import GroupNorm
from mezzotint.networks.walk import Stage, Walk, inputs, listed
from mezzotint.strict import strict


@strict
class UNetConfig:
    """The dimensions of a U-Net; levels are counted from 0, which is the full resolution."""

    channels: tuple[PositiveInt, ...] = (128, 256, 256, 256)
    """Width of each level; each level halves the resolution of the level before."""
    blocks: PositiveInt = 2
    """Residual blocks per level (one more per level on the way up)."""
    attention: tuple[int, ...] = (1,)
    """The levels that have self-attention, counted from 0. The bottom of the U-Net always has
    self-attention."""
    head_width: PositiveInt | None = None
    """Channels of an attention head; None makes one head of all channels."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout rate in the residual blocks."""
    groups: PositiveInt = 32
    """Groups of the group normalisation; must divide every width."""
    patch: PositiveInt = 1
    """Fold patch x patch pixels into channels first, to work at 1 / patch of the resolution."""
    kind: Suppress[Literal["unet"]] = "unet"

    def __post_init__(self) -> None:
        if not self.channels:
            raise ValueError("`channels` is empty: give the number of channels at each level")
        if self.channels[0] % 2 or self.channels[0] < 4:
            raise ValueError(
                f"`channels` is {self.channels}: choose an even number of 4 or more as the first"
            )
        if bad := [c for c in self.channels if c % self.groups]:
            raise ValueError(
                f"`groups` is {self.groups}, which does not divide {bad[0]}: "
                "choose a divisor of every number in `channels`"
            )
        if bad := [i for i in self.attention if not 0 <= i < len(self.channels)]:
            raise ValueError(
                f"`attention` has the level {bad[0]}: choose levels from 0 to "
                f"{len(self.channels) - 1}"
            )
        if self.head_width and (bad := [c for c in self.channels if c % self.head_width]):
            raise ValueError(
                f"`head_width` is {self.head_width}, which does not divide {bad[0]}: "
                "choose a divisor of every number in `channels`"
            )

    @property
    def factor(self) -> int:
        """Images are padded until this number divides their sides."""
        return self.patch << (len(self.channels) - 1)


class UNet(Walk):
    """A U-Net, ``net(x, t, condition) -> output``; see `forward`.

    Args:
        config: The dimensions of the network.
        image_channels: C, the number of channels of x.
        classes: K, the number of classes; 0 makes an unconditional network.
        out_channels: The number of channels of the output; None means C.
        augmentation: The number of inputs that describe the augmentation.
        conditions: The conditions besides the class.
    """

    def __init__(
        self,
        config: UNetConfig,
        image_channels: int = 3,
        classes: int = 0,
        out_channels: int | None = None,
        augmentation: int = 0,
        conditions: Sequence[Condition] = (),
    ) -> None:
        widths, last = config.channels, len(config.channels) - 1
        first, emb = widths[0], 4 * widths[0]

        def stem(channels: int) -> nn.Module:
            return nn.Conv2d(channels * config.patch**2, first, 3, padding=1, bias=False)

        super().__init__(first, emb, every(classes, conditions), stem, augmentation)
        self.config, self.patch = config, config.patch
        down, up = inputs(widths, config.blocks)

        self.stem = nn.Conv2d(image_channels * config.patch**2, first, 3, padding=1)
        self.down = listed(
            [
                _stage(config, level, cins, Down(widths[level]) if level < last else nn.Identity())
                for level, cins in enumerate(down)
            ]
        )
        c, g, drop = widths[-1], config.groups, config.dropout
        self.mid_in = ResBlock(c, c, g, drop)
        self.mid_attention = Attention(c, g, config.head_width)
        self.mid_out = ResBlock(c, c, g, drop)
        self.up = listed(
            [
                _stage(config, level, cins, Up(widths[level]) if level else nn.Identity())
                for level, cins in zip(reversed(range(last + 1)), up, strict=True)
            ]
        )
        self.widths = [m.width for m in self.modules() if isinstance(m, ResBlock)]
        self.project = nn.Linear(emb, sum(self.widths))

        self.norm = GroupNorm(first, config.groups, silu=True)
        outputs = (out_channels or image_channels) * config.patch**2
        self.out = zeroed(nn.Conv2d(first, outputs, 3, padding=1))
        self.laid_out(first)


def _stage(config: UNetConfig, level: int, cins: list[int], resample: nn.Module) -> Stage:
    """Make one level of the U-Net; ``cins`` are the numbers of input channels of its blocks."""
    c, g = config.channels[level], config.groups
    blocks = [ResBlock(cin, c, g, config.dropout) for cin in cins]
    attends = level in config.attention
    attentions = [Attention(c, g, config.head_width) if attends else nn.Identity() for _ in cins]
    return Stage(blocks, attentions, resample)
