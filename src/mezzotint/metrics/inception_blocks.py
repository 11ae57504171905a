"""The blocks of the Inception network.

A number after the last underscore of a layer's name is the position of the layer in its branch;
layers 2a and 2b, and layers 3a and 3b, are side by side.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class Conv(nn.Module):
    """A layer ``relu(norm(conv(x)))``, padded to keep height and width unless ``valid`` is set."""

    def __init__(
        self, i: int, o: int, kernel: int | tuple[int, int], stride: int = 1, valid: bool = False
    ) -> None:
        super().__init__()
        h, w = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (0, 0) if valid else (h // 2, w // 2)
        self.conv = nn.Conv2d(i, o, (h, w), stride, padding, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(o, eps=1e-3)

    def fold(self) -> None:
        """Fold the batch norm into the convolution, without changing the layer's output."""
        if isinstance(self.bn, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.bn)
            self.bn = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu_(self.bn(self.conv(x)))


def average(x: Tensor) -> Tensor:
    """Return the mean over 3x3 pixels with stride 1; at the borders, over fewer pixels."""
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def maximum(x: Tensor) -> Tensor:
    """Return the maximum over 3x3 pixels with stride 1."""
    return F.max_pool2d(x, 3, stride=1, padding=1)


class BlockA(nn.Module):
    """A block at 35x35 pixels, with four branches.

    The first has a 1x1 convolution, the second a 5x5 convolution, the third two 3x3 convolutions,
    and the fourth an average pool with ``pooled`` channels.
    """

    def __init__(self, i: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = Conv(i, 64, 1)
        self.branch5x5_1 = Conv(i, 48, 1)
        self.branch5x5_2 = Conv(48, 64, 5)
        self.branch3x3dbl_1 = Conv(i, 64, 1)
        self.branch3x3dbl_2 = Conv(64, 96, 3)
        self.branch3x3dbl_3 = Conv(96, 96, 3)
        self.branch_pool = Conv(i, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        b5x5 = self.branch5x5_2(self.branch5x5_1(x))
        b3x3dbl = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), b5x5, b3x3dbl, self.branch_pool(average(x))], dim=1)


class BlockB(nn.Module):
    """A block from 35x35 to 17x17 pixels, with three branches.

    The first has one 3x3 convolution, the second has two, and the third is a max pool.
    """

    def __init__(self, i: int) -> None:
        super().__init__()
        self.branch3x3 = Conv(i, 384, 3, stride=2, valid=True)
        self.branch3x3dbl_1 = Conv(i, 64, 1)
        self.branch3x3dbl_2 = Conv(64, 96, 3)
        self.branch3x3dbl_3 = Conv(96, 96, 3, stride=2, valid=True)

    def forward(self, x: Tensor) -> Tensor:
        b3x3dbl = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), b3x3dbl, F.max_pool2d(x, 3, stride=2)], dim=1)


class BlockC(nn.Module):
    """A block at 17x17 pixels, with four branches.

    The first has a 1x1 convolution, the second a 7x7 convolution, the third two 7x7 convolutions,
    and the fourth an average pool. A 7x7 convolution is made of a 1x7 and a 7x1 convolution. In
    each branch, all convolutions but the last have ``c`` output channels.
    """

    def __init__(self, i: int, c: int) -> None:
        super().__init__()
        self.branch1x1 = Conv(i, 192, 1)
        self.branch7x7_1 = Conv(i, c, 1)
        self.branch7x7_2 = Conv(c, c, (1, 7))
        self.branch7x7_3 = Conv(c, 192, (7, 1))
        self.branch7x7dbl_1 = Conv(i, c, 1)
        self.branch7x7dbl_2 = Conv(c, c, (7, 1))
        self.branch7x7dbl_3 = Conv(c, c, (1, 7))
        self.branch7x7dbl_4 = Conv(c, c, (7, 1))
        self.branch7x7dbl_5 = Conv(c, 192, (1, 7))
        self.branch_pool = Conv(i, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        b7x7 = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        b7x7dbl = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        b7x7dbl = self.branch7x7dbl_5(self.branch7x7dbl_4(b7x7dbl))
        return torch.cat([self.branch1x1(x), b7x7, b7x7dbl, self.branch_pool(average(x))], dim=1)


class BlockD(nn.Module):
    """A block from 17x17 to 8x8 pixels, with three branches.

    The first has a 3x3 convolution. The second has a 7x7 convolution (as 1x7 and 7x1) and then a
    3x3 convolution. The third is a max pool.
    """

    def __init__(self, i: int) -> None:
        super().__init__()
        self.branch3x3_1 = Conv(i, 192, 1)
        self.branch3x3_2 = Conv(192, 320, 3, stride=2, valid=True)
        self.branch7x7x3_1 = Conv(i, 192, 1)
        self.branch7x7x3_2 = Conv(192, 192, (1, 7))
        self.branch7x7x3_3 = Conv(192, 192, (7, 1))
        self.branch7x7x3_4 = Conv(192, 192, 3, stride=2, valid=True)

    def forward(self, x: Tensor) -> Tensor:
        b3x3 = self.branch3x3_2(self.branch3x3_1(x))
        b7x7x3 = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        return torch.cat([b3x3, self.branch7x7x3_4(b7x7x3), F.max_pool2d(x, 3, stride=2)], dim=1)


class BlockE(nn.Module):
    """A block at 8x8 pixels, with four branches.

    The first has a 1x1 convolution, and the fourth a pool. The second and the third end with a 1x3
    and a 3x1 convolution side by side. Before these, the third has a 3x3 convolution.
    """

    def __init__(self, i: int, pool: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.pool = pool
        self.branch1x1 = Conv(i, 320, 1)
        self.branch3x3_1 = Conv(i, 384, 1)
        self.branch3x3_2a = Conv(384, 384, (1, 3))
        self.branch3x3_2b = Conv(384, 384, (3, 1))
        self.branch3x3dbl_1 = Conv(i, 448, 1)
        self.branch3x3dbl_2 = Conv(448, 384, 3)
        self.branch3x3dbl_3a = Conv(384, 384, (1, 3))
        self.branch3x3dbl_3b = Conv(384, 384, (3, 1))
        self.branch_pool = Conv(i, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        b3x3 = self.branch3x3_1(x)
        b3x3dbl = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        branches = [
            self.branch1x1(x),
            *(self.branch3x3_2a(b3x3), self.branch3x3_2b(b3x3)),
            *(self.branch3x3dbl_3a(b3x3dbl), self.branch3x3dbl_3b(b3x3dbl)),
            self.branch_pool(self.pool(x)),
        ]
        return torch.cat(branches, dim=1)
