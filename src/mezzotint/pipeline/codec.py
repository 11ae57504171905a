"""Codecs convert images to the space in which the diffusion runs, and back.

`Pixels` runs the diffusion on the images themselves, `Latents` on the latents of an autoencoder
(Rombach et al. 2022, arXiv 2112.10752).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Protocol, Self, TypeAlias

import torch
from torch import Tensor

from mezzotint.data.values import EIGHT_BIT, Values
from mezzotint.errors import UserError

Shape = tuple[int, int, int]

# The most pixels that an autoencoder processes at once: 64 images of 64x64, or one of 512x512.
SLICE = 2**18
LEAST_TILE = 8  # the least side of a tile in latents; a smaller tile would be mostly seams


@dataclass(frozen=True)
class Pixels:
    """The codec of a model of pixels, which scales images to float32 in [-1, 1] and back.

    Attributes:
        values: The type of the images, and the range that becomes [-1, 1]; by default uint8 from 0
            to 255.
    """

    values: Values = EIGHT_BIT

    def encode(self, images: Tensor) -> Tensor:
        """Return ``2 (images - low) / (high - low) - 1``, float32, for images (B, C, H, W).

        Raises UserError if the images have another type than ``values``.
        """
        return self.values.encode(images)

    @property
    def digest(self) -> str:
        """A text that identifies the codec."""
        return "pixels" if self.values == EIGHT_BIT else f"pixels {self.values}"

    def decode(self, x: Tensor) -> Tensor:
        """Convert x to images: clamp, scale, and round if the type of the images is an integer."""
        return self.values.decode(x)

    def latent_shape(self, images: Shape) -> Shape:
        """Return the shape of x for images of the shape ``images``: the same shape."""
        return images

    def image_shape(self, latents: Shape) -> Shape:
        """Return the shape (C, H, W) of images, which is also the shape of x."""
        return latents


class AutoencoderConfig(Protocol):
    """The two properties of an autoencoder's configuration that a codec needs."""

    @property
    def factor(self) -> int:
        """The factor f by which the encoder shrinks the height and the width of an image."""

    @property
    def latent(self) -> int:
        """The number of channels of the latents."""


class Autoencoder(Protocol):
    """A network that converts images x to latents z, and z back to x.

    x is (B, C, H, W) in [-1, 1], and z is (B, latent, H / f, W / f).
    """

    @property
    def config(self) -> AutoencoderConfig: ...

    @property
    def image_channels(self) -> int:
        """C, the channels of the images."""

    @property
    def digest(self) -> str:
        """Return a text that identifies the autoencoder."""

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and log variance of the normal distribution of z given x."""

    def decode(self, z: Tensor) -> Tensor:
        """Return the images x to which z decodes, with values near [-1, 1]."""

    def for_inference(self, dtype: torch.dtype) -> Self:
        """Return a copy whose weights have the type ``dtype``."""


@dataclass(frozen=True, eq=False)
class Latents:
    """The codec of a latent model: ``z = (z_raw - mean) / std``; ``vae`` encodes images to z_raw.

    The autoencoder processes a batch in slices of at most 2^18 pixels, or image by image if an
    image has more pixels. The slices affect only rounding. If ``tile`` is set, latents larger than
    a tile are decoded in tiles that overlap by about a quarter of their side or more, and the
    images of the tiles are blended linearly. Tiles bound the memory for a large image. But the
    group norms and the attention then see a tile instead of the whole image, so the result differs
    slightly from decoding the whole image at once.

    Attributes:
        vae: The autoencoder.
        mean: The mean of z_raw over the training data, (C,) float32 on the autoencoder's device.
        std: The standard deviation of z_raw, in the same form, so that z has about unit variance.
            For a published autoencoder with a scale and a shift, use ``mean = shift`` and ``std = 1
            / scale``.
        tile: The height and width of a tile, in latent pixels; 0 decodes images whole.
        size: Height and width of the images, if the factor f of the autoencoder does not divide
            them; None otherwise. Images are padded before encoding, and cropped after decoding.
        values: The type of the images, and the range that becomes [-1, 1].

    Raises:
        UserError: If ``tile`` is from 1 to 7.
    """

    vae: Autoencoder
    mean: Tensor
    std: Tensor
    tile: int = 0
    size: tuple[int, int] | None = None
    values: Values = EIGHT_BIT

    def __post_init__(self) -> None:
        if self.tile and self.tile < LEAST_TILE:
            raise UserError(
                f"`tile` is {self.tile}: choose a side of {LEAST_TILE} latents or more, or 0 to "
                "decode whole images"
            )

    @property
    def digest(self) -> str:
        """A text that identifies the codec."""
        content = f"{self.vae.digest} {self.mean.tolist()} {self.std.tolist()} {self.tile}"
        content += f" {self.size}" * (self.size is not None)
        content += f" {self.values}" * (self.values != EIGHT_BIT)
        return hashlib.sha256(content.encode()).hexdigest()

    def in_precision(self, dtype: torch.dtype) -> Latents:
        """Return this codec with the autoencoder's weights cast to a dtype; latents stay float32.

        Raises UserError for float32 if the weights have been rounded to another type.
        """
        if dtype == torch.float32 and self.vae.dtype != dtype:
            raise UserError(
                "the weights of the autoencoder were rounded to bf16: load the model again with "
                '`precision="float32"`'
            )
        return replace(self, vae=self.vae.for_inference(dtype))

    def encode(self, images: Tensor, noise: Tensor | None = None) -> Tensor:
        """Encode images (B, C, H, W) to latents z, float32; see `sample` for ``noise``."""
        return self.sample(*self.moments(images), noise)

    @torch.no_grad()
    def moments(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Encode images (B, C, H, W) to the mean and standard deviation of z_raw, float32.

        Raises UserError for images of another type or with other channels.
        """
        self._check(images.shape[1])
        parts = [self.vae.encode(self.values.encode(part)) for part in _slices(images, 1)]
        mean, log_variance = (torch.cat(part) for part in zip(*parts, strict=True))
        return mean, torch.exp(log_variance / 2)

    def sample(self, mean: Tensor, std: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return ``z = (mean + std * noise - self.mean) / self.std``.

        ``mean`` and ``std`` describe z_raw, as `moments` returns them. ``noise`` ~ N(0, I) has the
        shape of the latents; without noise, z is computed from the mean alone.
        """
        raw = mean if noise is None else mean + std * noise
        return (raw - _over(self.mean)) / _over(self.std)

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Decode latents z (B, c, h, w) to images (B, C, f h, f w), cropped to ``size``.

        Raises UserError if z has another number of channels than the autoencoder's latents.
        """
        if z.shape[1] != self.vae.config.latent:
            raise UserError(
                f"the latents have {z.shape[1]} channels but the autoencoder needs "
                f"{self.vae.config.latent}: decode with the autoencoder that the model was "
                "trained on"
            )
        parts = _slices(z, self.vae.config.factor)
        return torch.cat([self.values.decode(self.pixels(part)) for part in parts])

    def pixels(self, z: Tensor) -> Tensor:
        """Decode latents z (B, c, h, w) to float images (B, C, f h, f w), near [-1, 1].

        The images are cropped to ``size``, and differentiable with respect to z.
        """
        made = self._decoded(z.float() * _over(self.std) + _over(self.mean))
        height, width = self.image_shape((0, *z.shape[2:]))[1:]
        return made[..., :height, :width]

    def latent_shape(self, images: Shape) -> Shape:
        """Return the shape (c, h, w) of z for images of shape (C, H, W).

        A side that the factor f of the autoencoder does not divide is padded. Raises UserError if
        the autoencoder does not take C channels.
        """
        channels, h, w = images
        self._check(channels)
        f = self.vae.config.factor
        return self.vae.config.latent, -(-h // f), -(-w // f)

    def image_shape(self, latents: Shape) -> Shape:
        """Return the shape (C, H, W) of images for z of shape (c, h, w)."""
        f, sides = self.vae.config.factor, latents[1:]
        if self.size and sides == (-(-self.size[0] // f), -(-self.size[1] // f)):
            return self.vae.image_channels, *self.size
        return self.vae.image_channels, sides[0] * f, sides[1] * f

    def of_size(self, height: int, width: int) -> Latents:
        """Return this codec for images of another height and width."""
        f = self.vae.config.factor
        return replace(self, size=(height, width) if height % f or width % f else None)

    def _check(self, channels: int) -> None:
        """Raise UserError unless the autoencoder is for images with this number of channels."""
        if channels != (own := self.vae.image_channels):
            raise UserError(
                f"the images have {channels} channels but the autoencoder needs {own}: give an "
                f"autoencoder for images with {channels} channels"
            )

    def _decoded(self, raw: Tensor) -> Tensor:
        """Decode one slice with the autoencoder, in tiles if its latents are larger than a tile."""
        h, w = raw.shape[2:]
        if not self.tile or max(h, w) <= self.tile:
            return self.vae.decode(raw)
        f = self.vae.config.factor
        th, tw = min(h, self.tile), min(w, self.tile)
        rows, columns = starts(h, th), starts(w, tw)
        down, across = (
            blending([f * at for at in places], f * side, f * whole).to(raw.device)
            for places, side, whole in ((rows, th, h), (columns, tw, w))
        )
        out = raw.new_zeros(len(raw), self.vae.image_channels, f * h, f * w)
        for i, y in enumerate(rows):
            for j, x in enumerate(columns):
                image = self.vae.decode(raw[:, :, y : y + th, x : x + tw])
                place = slice(f * y, f * (y + th)), slice(f * x, f * (x + tw))
                weight = down[i, place[0], None] * across[j, place[1]]
                out[:, :, *place] += weight * image
        return out


Codec: TypeAlias = Pixels | Latents


def starts(whole: int, tile: int) -> list[int]:
    """Return the starts of the tiles that cover a side of ``whole`` pixels.

    A tile has ``tile`` pixels. Neighbouring tiles overlap by ``tile // 4`` pixels or more.
    """
    return [*range(0, whole - tile, tile - tile // 4), whole - tile]


def blending(places: list[int], tile: int, whole: int) -> Tensor:
    """Return the weight of each tile at each of the ``whole`` pixels along a side.

    The result has the shape (number of tiles, ``whole``), and ``places`` are the starts of the
    tiles. The weights sum to 1 at each pixel. Where a tile overlaps the tile before it, the weight
    of the later tile rises linearly from 0 to 1, and the weights of all earlier tiles fall in
    proportion.
    """
    at = torch.arange(whole) + 0.5
    weights = torch.ones(len(places), whole)
    for k in range(1, len(places)):
        begin, end = places[k], places[k - 1] + tile
        weights[k] = ((at - begin) / (end - begin)).clamp(0, 1)
        weights[:k] *= 1 - weights[k]
    return weights


def _slices(batch: Tensor, factor: int) -> tuple[Tensor, ...]:
    """Split a batch (B, C, h, w) into slices of few enough pixels for the autoencoder.

    The sides of the images are ``factor`` times h and w.
    """
    h, w = batch.shape[2:]
    return torch.split(batch, max(1, SLICE // (factor * factor * h * w)))


def _over(channels: Tensor) -> Tensor:
    """Reshape (C,) to (C, 1, 1), to broadcast over images."""
    return channels.view(-1, 1, 1)
