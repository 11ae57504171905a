"""The Inception network of 2015-12-05, whose features define FID, KID and Inception Score.

It is the network of Szegedy et al. 2015 (arXiv 1512.00567) that Heusel et al. 2017 (arXiv
1706.08500) use. It differs from torchvision's network in its weights, in its 1008 outputs, in its
average pools, which exclude the padding, and in the max pool of the last block. The parameters have
torchvision's names.
"""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.devices import autocast
from mezzotint.errors import UserError
from mezzotint.metrics.inception_blocks import (
    BlockA,
    BlockB,
    BlockC,
    BlockD,
    BlockE,
    Conv,
    average,
    maximum,
)
from mezzotint.storage.cache import cache_folder, download

URL = (
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
    "pt_inception-2015-12-05-6726825d.pth"
)
NAME = URL.rpartition("/")[2]
SIZE = 95_628_359
"""Bytes of the weights."""
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
SIDE = 299
"""Height and width of the network's input, in pixels."""
SPATIAL = 7
"""Channels of the spatial features: 7 * 17 * 17 numbers are nearly 2048 (Nash et al. 2021)."""

LAYOUT = torch.channels_last
"""The memory layout of activations."""

Variant = Literal["tf1", "pytorch-fid"]


class Taps(NamedTuple):
    """The features of N images, float32; pooled features are means over the image."""

    pool64: Tensor  # (N, 64): after the first max pool
    pool192: Tensor  # (N, 192): after the second max pool
    pool768: Tensor  # (N, 768): after Mixed_6e
    pool2048: Tensor  # (N, 2048): after the last block; it defines FID and KID
    spatial: Tensor  # (N, 2023): the first channels of Mixed_6d at all positions, for sFID
    logits_unbiased: Tensor  # (N, 1008): without the bias, for Inception Score
    logits: Tensor  # (N, 1008)


@cache
def bilinear(side: int) -> Tensor:
    """Return the matrix (299, side), float32, that resizes a row of pixels like TensorFlow 1.

    Row i of the matrix interpolates between the two pixels around ``i * side / 299``. Beyond the
    last pixel, the last pixel is repeated. The centres of pixels are not aligned, and shrinking
    skips pixels. Two such matrices resize an image: one multiplies its columns, the other its rows.
    """
    rows = torch.arange(SIDE)
    place = rows * torch.tensor(side / SIDE, dtype=torch.float32)  # as in TensorFlow
    low = place.long()
    part = place - low
    matrix = torch.zeros(SIDE, side, dtype=torch.float32)
    matrix[rows, low] += 1 - part
    matrix[rows, (low + 1).clamp(max=side - 1)] += part
    return matrix


@cache
def _resizing(side: int, device: torch.device) -> Tensor:
    """Return the matrix `bilinear` on a device."""
    return bilinear(side).to(device)


def _tf1(images: Tensor) -> Tensor:
    """Resize uint8 images to 299x299 as TensorFlow 1 does, and scale them to about [-1, 1]."""
    down, across = (_resizing(side, images.device) for side in images.shape[2:])
    return (down @ (images.float() @ across.T) - 128) / 128


def _pytorch_fid(images: Tensor) -> Tensor:
    """Resize uint8 images to 299x299 as pytorch-fid does, and scale them to [-1, 1]."""
    x = F.interpolate(images.float() / 255, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    return 2 * x - 1


PREPARE = {"tf1": _tf1, "pytorch-fid": _pytorch_fid}


class Inception(nn.Module):
    """The Inception network, which maps uint8 images (N, 3, H, W) of any size to `Taps`.

    It is always in evaluation mode, in float32 and without gradients, because figures would
    silently change otherwise. ``variant`` says how images are resized to 299x299:

    - tf1: as in TensorFlow 1, which most published figures and ADM's evaluator use;
    - pytorch-fid: as in the package pytorch-fid; FIDs differ slightly from FIDs with tf1.

    On images of 299x299 the variants differ only in the scaling of pixels: (x - 128) / 128 for tf1,
    and x / 127.5 - 1 for pytorch-fid. Raises UserError for images of another type or shape.
    """

    def __init__(self, variant: Variant = "tf1") -> None:
        super().__init__()
        if variant not in PREPARE:
            raise UserError(
                f"there is no Inception variant {variant!r}: choose {', '.join(PREPARE)}"
            )
        self.prepare = PREPARE[variant]
        self.Conv2d_1a_3x3 = Conv(3, 32, 3, stride=2, valid=True)
        self.Conv2d_2a_3x3 = Conv(32, 32, 3, valid=True)
        self.Conv2d_2b_3x3 = Conv(32, 64, 3)
        self.Conv2d_3b_1x1 = Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = Conv(80, 192, 3, valid=True)
        self.Mixed_5b = BlockA(192, 32)
        self.Mixed_5c = BlockA(256, 64)
        self.Mixed_5d = BlockA(288, 64)
        self.Mixed_6a = BlockB(288)
        self.Mixed_6b = BlockC(768, 128)
        self.Mixed_6c = BlockC(768, 160)
        self.Mixed_6d = BlockC(768, 160)
        self.Mixed_6e = BlockC(768, 192)
        self.Mixed_7a = BlockD(768)
        self.Mixed_7b = BlockE(1280, average)
        self.Mixed_7c = BlockE(2048, maximum)
        self.fc = nn.Linear(2048, 1008)
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Return the network, which stays in evaluation mode, even inside a module in training."""
        return super().train(False)

    def fold(self) -> Self:
        """Fold each batch norm into its convolution, and return the network.

        The features do not change. Load the weights before folding.
        """
        for module in self.modules():
            if isinstance(module, Conv):
                module.fold()
        return self

    @torch.no_grad()
    def forward(self, images: Tensor) -> Taps:
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            shape = tuple(images.shape)
            raise UserError(f"images are {images.dtype} {shape}: give uint8 (N, 3, H, W)")
        with autocast(images.device, torch.float32):
            return self._taps(self.prepare(images).contiguous(memory_format=LAYOUT))

    def _taps(self, x: Tensor) -> Taps:
        """Return the features of resized and scaled images, float (N, 3, 299, 299)."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = F.max_pool2d(x, 3, stride=2)  # (N, 64, 73, 73)
        pool64 = x.mean((2, 3))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))
        x = F.max_pool2d(x, 3, stride=2)  # (N, 192, 35, 35)
        pool192 = x.mean((2, 3))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x))))  # (N, 768, 17, 17)
        spatial = x[:, :SPATIAL].flatten(1)  # the 1x1 branch is the first
        x = self.Mixed_6e(x)
        pool768 = x.mean((2, 3))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))  # (N, 2048, 8, 8)
        pool2048 = x.mean((2, 3))
        unbiased = pool2048 @ self.fc.weight.T
        logits = unbiased + self.fc.bias
        return Taps(pool64, pool192, pool768, pool2048, spatial, unbiased, logits)


def load(path: str | Path | None = None, variant: Variant = "tf1") -> Inception:
    """Load the network with the weights in the file ``path``, or with downloaded weights.

    If ``path`` is not given, the file at `weights_path` is read; if there is none, the weights are
    downloaded into the cache. In all cases, the SHA-256 of the file is checked. Raises UserError if
    the file is missing or has another SHA-256, or if the download fails.
    """
    net = Inception(variant)
    file = Path(os.path.expanduser(path)) if path is not None else weights_path()
    if file is None:
        file = download(
            URL, SHA256, NAME, "fetch it yourself and set MEZZOTINT_INCEPTION to its path"
        )
    if not file.is_file():
        raise UserError(f"there are no Inception weights at {file}: download {URL}")
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != SHA256:
        raise UserError(
            f"{file} does not hold the Inception weights of 2015-12-05 (it has "
            f"{file.stat().st_size:,} bytes and the SHA-256 {digest[:12]}..., not {SIZE:,} and "
            f"{SHA256[:12]}...): download {URL} again"
        )
    net.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    return net.fold()


def weights_path() -> Path | None:
    """Return the path of the weights, which is $MEZZOTINT_INCEPTION or a file in the cache.

    Return None if the variable is not set and the cache does not hold the weights; nothing is
    downloaded. Raises UserError if the variable names a file that does not exist.
    """
    if own := os.environ.get("MEZZOTINT_INCEPTION"):
        file = Path(os.path.expanduser(own))
        if not file.is_file():
            raise UserError(f"MEZZOTINT_INCEPTION is {own}, but no file is there: download {URL}")
        return file
    file = cache_folder("downloads") / NAME
    return file if file.is_file() else None
