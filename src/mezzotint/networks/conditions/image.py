"""A condition that is an image, such as a segmentation map, or a smaller version of the sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from mezzotint.errors import UserError
from mezzotint.networks.conditions.condition import Condition, Layered, Stem, as_array
from mezzotint.strict import strict


@strict
class ImageCondition(Condition):
    """An image as the condition for each sample: float (B, c + 1, H, W) from -1 to 1.

    The last channel is a flag: 1 for a given image, or 0 for the null condition, whose pixels are
    0. The effect on the network is as if the channels of the condition were concatenated with x.
    The pixels of an image smaller than x are repeated. In an image larger than x, each square of
    ``fold`` x ``fold`` pixels is turned into channels. The weights of the encoder begin at zero, so
    adding the condition does not change the output of a trained network at first.
    """

    name: str
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    """Channels, height and width."""
    fold: PositiveInt = 1
    """How many times as high and as wide as x the image is; above 1 only in a latent model."""
    kind: ClassVar[str] = "image"
    spatial: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.check_name()

    def null(self, count: int, device: torch.device | None = None) -> Tensor:
        channels, height, width = self.shape
        return torch.zeros(count, channels + 1, height, width, device=device)

    def some(self, count: int) -> Tensor:
        found = self.null(count)
        found[:, -1] = 1
        return found

    def encoder(self, emb: int, stem: Stem) -> nn.Module:
        return Beside(stem((self.shape[0] + 1) * self.fold**2), self.fold)

    def encoded(self, rows: npt.NDArray[Any]) -> Tensor:
        pixels = torch.from_numpy(np.ascontiguousarray(np.moveaxis(rows, 3, 1)))
        found = self.some(len(rows))
        found[:, :-1] = pixels.float() / 127.5 - 1
        return found

    def given(self, value: Any, count: int | None) -> Tensor:
        """Convert uint8 images to the condition tensor that the network takes.

        The images are (B, c, H, W) or (B, H, W, c). A single image is used for the whole batch.
        """
        found = as_array(value)
        channels, height, width = self.shape
        if found.ndim in (2, 3) and found.shape[-2:] == (height, width) and channels == 1:
            found = found[..., None]
        found = found[None] if found.ndim == 3 else found
        if found.ndim == 4 and found.shape[1:] == self.shape:
            found = np.moveaxis(found, 1, 3)
        if found.dtype != np.uint8 or found.shape[1:] != (height, width, channels):
            raise UserError(
                f"{self.name!r} is {found.dtype} {found.shape}: give uint8 images of (channels, "
                f"height, width) {self.shape}, one for all samples or one for each"
            )
        return self.rows(self.encoded(found), count)

    def fitted(self, x: tuple[int, int, int]) -> ImageCondition:
        """Return this condition with the ``fold`` for a network whose x has the shape (C, H, W).

        ``fold`` is the factor by which the condition is larger than x, or 1 if x is larger.
        Raises UserError unless the condition is 1, 2, 3 ... times as high and as wide as x, or x is
        2, 3 ... times as high and as wide as the condition.
        """
        (_, height, width), (_, h, w) = self.shape, x
        for large, small in (((height, width), (h, w)), ((h, w), (height, width))):
            factor = large[0] // small[0]
            if factor and (small[0] * factor, small[1] * factor) == large:
                fold = factor if large == (height, width) else 1
                return ImageCondition(self.name, self.shape, fold)
        raise UserError(
            f"{self.name!r} has {height}x{width} pixels, but the input of the network has {h}x{w} "
            "(height x width): scale one of the two to a whole multiple of the other's size"
        )

    def parsed(self, text: str) -> list[Path]:
        """Return the paths of image files, which the caller must read."""
        return [Path(word).expanduser() for word in text.split(",")]

    def __str__(self) -> str:
        channels, height, width = self.shape
        return f"{self.name}, an image of {height}x{width}x{channels}"


class Beside(Layered):
    """The encoder of an image: a layer without a bias, whose weights begin at zero."""

    def __init__(self, layer: nn.Module, fold: int) -> None:
        super().__init__()
        self.layer, self.fold = layer, fold
        self.initialise()

    def aligned(self, value: Tensor, x: Tensor) -> Tensor:
        folded = F.pixel_unshuffle(value, self.fold)
        factor = x.shape[-1] // folded.shape[-1]
        return folded.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
