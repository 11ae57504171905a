"""Images to what the diffusion runs on, and back.

Pixels runs it on the images themselves, Latents on an autoencoder's latents (Rombach et al. 2022,
arXiv 2112.10752).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Protocol, Self, TypeAlias

import torch
from torch import Tensor

from mezzotint.errors import UserError

Shape = tuple[int, int, int]

SLICE = 2**18  # pixels of images that an autoencoder is given at once: 64 of 64x64, 1 of 512x512
LEAST_TILE = 8  # latents a side, below which a tile is mostly seam


@dataclass(frozen=True)
class Pixels:
    """The diffusion runs on the pixels themselves: uint8 0..255 <-> float32 [-1, 1]."""

    def encode(self, images: Tensor) -> Tensor:
        """``images / 127.5 - 1``, uint8 (B, C, H, W) to float32; UserError for any other type."""
        if images.dtype != torch.uint8:
            raise UserError(f"images must be uint8, 0 to 255, not {images.dtype}")
        return images.float() / 127.5 - 1

    digest = "pixels"  # tells one codec from another

    def decode(self, x: Tensor) -> Tensor:
        """``round(127.5 * (x + 1))``, cut to 0..255: the inverse of encode on what encode gives."""
        return (127.5 * (x.float() + 1)).round().clamp(0, 255).to(torch.uint8)

    def latent_shape(self, pictures: Shape) -> Shape:
        """(C, H, W) of images to that of x: the same."""
        return pictures

    def picture_shape(self, latents: Shape) -> Shape:
        """(C, H, W) of x to that of images: the same."""
        return latents


class AutoencoderConfig(Protocol):
    @property
    def factor(self) -> int:
        """f: how many times smaller the sides of the latents are than those of the image."""

    @property
    def latent(self) -> int:
        """Channels of the latents."""


class Autoencoder(Protocol):
    """Images x (B, C, H, W) in [-1, 1], latents z (B, config.latent, H / f, W / f)."""

    @property
    def config(self) -> AutoencoderConfig: ...

    @property
    def image_channels(self) -> int:
        """C: channels of the images."""

    @property
    def digest(self) -> str:
        """Tells one autoencoder from another."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the normal distribution of z given x."""

    def decode(self, z: Tensor) -> Tensor:
        """x, near [-1, 1]."""

    def for_inference(self, dtype: torch.dtype) -> Self:
        """A copy whose weights are of that type."""


@dataclass(frozen=True, eq=False)
class Latents:
    """The diffusion runs on ``z = (z_raw - mean) / std``, z_raw being the latents of ``vae``.

    ``mean`` and ``std`` (C,) float32, one for each channel, on the autoencoder's device: of z_raw
    over the training data, whereby z has about unit variance. A published autoencoder's scale and
    shift are ``mean = shift, std = 1 / scale``.

    The autoencoder is given slices of a batch, of some 2^18 pixels or one image: which changes
    no more than a rounding. ``tile`` (latents a side, 0 for none) bounds what it decodes of one
    image: larger latents are cut into tiles that overlap by a quarter or more, and their
    images blended linearly where they do. The group norms and the attention then see a tile and
    not the whole, so such an image differs a little from the one decoded at once.

    Raises UserError for a tile of fewer than 8 latents.
    """

    vae: Autoencoder
    mean: Tensor
    std: Tensor
    tile: int = 0

    def __post_init__(self) -> None:
        if self.tile and self.tile < LEAST_TILE:
            raise UserError(
                f"a tile of {self.tile} latents a side is too small: "
                f"choose {LEAST_TILE} or more, or 0 to decode images whole"
            )

    @property
    def digest(self) -> str:
        """Tells one codec from another."""
        told = f"{self.vae.digest} {self.mean.tolist()} {self.std.tolist()} {self.tile}"
        return hashlib.sha256(told.encode()).hexdigest()

    def in_precision(self, dtype: torch.dtype) -> Latents:
        """This one, the autoencoder's weights cast once; z is float32 still."""
        return replace(self, vae=self.vae.for_inference(dtype))

    def encode(self, images: Tensor, noise: Tensor | None = None) -> Tensor:
        """uint8 (B, C, H, W) to float32 z: as `sample` has it of the images' moments."""
        return self.sample(*self.moments(images), noise)

    @torch.no_grad()
    def moments(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of z_raw given uint8 images, float32, for a cache of them.

        Raises UserError for images of another type, of other channels than the autoencoder's, or
        of sides that f does not divide.
        """
        self._check(images.shape[1])
        parts = [self.vae.encode(Pixels().encode(part)) for part in _slices(images, 1)]
        mean, log_variance = (torch.cat(part) for part in zip(*parts, strict=True))
        return mean, torch.exp(log_variance / 2)

    def sample(self, mean: Tensor, std: Tensor, noise: Tensor | None = None) -> Tensor:
        """z of the moments of z_raw: ``(mean + std * noise - self.mean) / self.std``.

        ``noise`` ~ N(0, I) has the latents' shape; None takes the mean.
        """
        raw = mean if noise is None else mean + std * noise
        return (raw - _over(self.mean)) / _over(self.std)

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """z (B, c, h, w) to uint8 (B, C, f h, f w); UserError for another number of channels."""
        if z.shape[1] != self.vae.config.latent:
            raise UserError(
                f"latents of {z.shape[1]} channels, the autoencoder has {self.vae.config.latent}: "
                "decode with the autoencoder that the model was trained on"
            )
        raw = z.float() * _over(self.std) + _over(self.mean)
        parts = _slices(raw, self.vae.config.factor)
        return torch.cat([Pixels().decode(self._decoded(part)) for part in parts])

    def latent_shape(self, pictures: Shape) -> Shape:
        """(C, H, W) of images to (c, h, w) of z.

        Raises UserError for other channels than the autoencoder's, and where f does not divide H
        and W.
        """
        channels, h, w = pictures
        self._check(channels)
        f = self.vae.config.factor
        if h % f or w % f:
            raise UserError(
                f"images of {h}x{w} (height x width) have no latents: the autoencoder makes "
                f"both sides {f} times smaller, so pass a `size` that {f} divides"
            )
        return self.vae.config.latent, h // f, w // f

    def picture_shape(self, latents: Shape) -> Shape:
        """(c, h, w) of z to (C, H, W) of images."""
        f = self.vae.config.factor
        return self.vae.image_channels, latents[1] * f, latents[2] * f

    def _check(self, channels: int) -> None:
        if channels != (own := self.vae.image_channels):
            raise UserError(
                f"the images have {channels} channels, and the autoencoder is of images of {own}: "
                f"give an autoencoder of {channels}"
            )

    def _decoded(self, raw: Tensor) -> Tensor:
        """The autoencoder's images of one slice, by tiles where it is larger than one."""
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
                picture = self.vae.decode(raw[:, :, y : y + th, x : x + tw])
                place = slice(f * y, f * (y + th)), slice(f * x, f * (x + tw))
                weight = down[i, place[0], None] * across[j, place[1]]
                out[:, :, *place] += weight * picture
        return out


Codec: TypeAlias = Pixels | Latents


def starts(whole: int, tile: int) -> list[int]:
    """Where tiles begin that cover ``whole`` and overlap by a quarter of one, the last by more."""
    return [*range(0, whole - tile, tile - tile // 4), whole - tile]


def blending(places: list[int], tile: int, whole: int) -> Tensor:
    """The weight of each tile at each place along one side, (tiles, whole), summing to 1 at each.

    Where a tile begins before the one before it has ended, its weight rises linearly from 0 to 1
    over what both cover, and those of the tiles before fall in proportion.
    """
    at = torch.arange(whole) + 0.5
    weights = torch.ones(len(places), whole)
    for k in range(1, len(places)):
        begin, end = places[k], places[k - 1] + tile
        weights[k] = ((at - begin) / (end - begin)).clamp(0, 1)
        weights[:k] *= 1 - weights[k]
    return weights


def _slices(batch: Tensor, factor: int) -> tuple[Tensor, ...]:
    """Of a batch (B, C, h, w), whose images are ``factor`` times as high and as wide."""
    h, w = batch.shape[2:]
    return torch.split(batch, max(1, SLICE // (factor * factor * h * w)))


def _over(channels: Tensor) -> Tensor:
    """(C,) to (C, 1, 1), to go with images."""
    return channels.view(-1, 1, 1)
