"""The forward pass of a U-Net: down its levels, through the bottom, and up with the skips."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.networks.conditions import Given
from mezzotint.networks.network import Conditioned
from mezzotint.networks.padding import cut, padded

WIDE = 128  # training on a CPU uses channels-last from this width, and compilation below it


class Stage(nn.Module):
    """One level: residual blocks, each with attention if the level has it, then a resampling.

    The resampling is a layer or, in ADM's U-Net, a residual block, which is recognised by its
    attribute ``width``.
    """

    def __init__(
        self, blocks: Sequence[nn.Module], attentions: Sequence[nn.Module], resample: nn.Module
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.attentions = nn.ModuleList(attentions)
        self.resample = resample
        self.by_block = hasattr(resample, "width")

    def layers(self) -> Iterator[tuple[nn.Module, nn.Module]]:
        """Return pairs of a residual block and its attention (or the identity)."""
        return zip(self.blocks, self.attentions, strict=True)

    def resampled(self, h: Tensor, shifts: Iterator[Tensor]) -> Tensor:
        """Resample h by a layer or by a residual block.

        A block also takes the next tensor from ``shifts``, which was computed from the time
        embedding.
        """
        out: Tensor = self.resample(h, next(shifts)) if self.by_block else self.resample(h)
        return out


def inputs(channels: Sequence[int], blocks: int) -> tuple[list[list[int]], list[list[int]]]:
    """Return each residual block's number of input channels, on the way down and on the way up.

    Both results have a list for each level, in the order in which the levels run. ``channels`` are
    the widths of the levels. A level has ``blocks`` blocks on the way down and one more on the way
    up. Each block on the way up also takes a skip from the way down, the last skip first.
    """
    first, last = channels[0], len(channels) - 1
    down, up, skips = [], [], [first]
    for level, (cin, c) in enumerate(pairwise([first, *channels])):
        down.append([cin] + [c] * (blocks - 1))
        skips += [c] * (blocks + (level < last))
    c = channels[-1]
    for width in reversed(channels):
        cins = []
        for _ in range(blocks + 1):
            cins.append(c + skips.pop())
            c = width
        up.append(cins)
    return down, up


class Walk(Conditioned):
    """A U-Net, ``net(x, t, condition) -> output``. It is abstract; subclasses make the layers.

    If ``config.factor`` does not divide the height or the width of x, x is padded, and the output
    is cropped to the size of x.
    """

    patch = 1  # squares of patch x patch pixels are folded into channels
    stem: nn.Module
    down: list[Stage]
    mid_in: nn.Module
    mid_attention: nn.Module
    mid_out: nn.Module
    up: list[Stage]
    project: nn.Linear
    norm: nn.Module
    out: nn.Module
    widths: list[int]  # how many outputs of `project` each residual block takes, in order

    @property
    def gains(self) -> bool:  # type: ignore[override]
        """Whether compilation for a CPU is worthwhile.

        It is worthwhile for sampling, and for training a narrow network (see `laid_out`). It would
        also make the training of a wide network faster, but would need more memory.
        """
        return self.narrow or not self.training

    def folded(self, x: Tensor) -> Tensor:
        """Pad images, and turn each square of ``patch`` x ``patch`` pixels into channels."""
        return F.pixel_unshuffle(padded(x, self.config.factor), self.patch)

    def laid_out(self, first: int) -> None:
        """Store the weights channels-last if ``first``, the width of level 0, is at least WIDE."""
        self.narrow = first < WIDE
        if not self.narrow:
            self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        condition: Given | Tensor | None = None,
        augmentation: Tensor | None = None,
    ) -> Tensor:
        """Return the network's prediction for noisy images.

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
            UserError: If the network does not take a given condition or ``augmentation``, or has
                several conditions and gets one tensor.
        """
        # One product gives the shifts of all residual blocks, in the order in which they run.
        given = self.named(condition, t)
        emb = F.silu(self.embed(t, given, augmentation))
        shifts = iter(self.project(emb).split(self.widths, dim=1))
        h = self.beside(self.stem(self.folded(x).to(self.dtype)), given, x, self.folded)
        skips = [h]
        for stage in self.down:
            for block, attend in stage.layers():
                h = attend(block(h, next(shifts)))
                skips.append(h)
            if not isinstance(stage.resample, nn.Identity):
                h = stage.resampled(h, shifts)
                skips.append(h)
        h = self.mid_in(h, next(shifts))
        h = self.mid_out(self.mid_attention(h), next(shifts))
        for stage in self.up:
            for block, attend in stage.layers():
                h = attend(block(h, next(shifts), skips.pop()))
            h = stage.resampled(h, shifts)
        return cut(F.pixel_shuffle(self.out(self.norm(h)), self.patch).to(x.dtype), x)


def listed(stages: list[Stage]) -> list[Stage]:
    """Return the stages as a ModuleList that type checkers see as a list."""
    return cast(list[Stage], nn.ModuleList(stages))
