from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mezzotint import UserError
from mezzotint.networks import VAE, TinyVAE, TinyVAEConfig, VAEConfig
from mezzotint.pipeline.codec import Latents, Pixels, blending, starts


@dataclass
class Config:
    factor: int = 2
    latent: int = 3


@dataclass
class Squares:
    """An autoencoder whose latents are means of squares of pixels; it records its inputs."""

    config: Config = field(default_factory=Config)
    image_channels: ClassVar[int] = 3
    log_variance: float = -30.0
    seen: list[tuple[int, ...]] = field(default_factory=list)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.seen.append(tuple(x.shape))
        mean = F.avg_pool2d(x, self.config.factor)
        return mean, torch.full_like(mean, self.log_variance)

    def decode(self, z: Tensor) -> Tensor:
        self.seen.append(tuple(z.shape))
        return F.interpolate(z, scale_factor=self.config.factor)


MEAN, STD = torch.tensor([0.5, -1.0, 0.0]), torch.tensor([0.25, 2.0, 1.0])


def squared(b: int, h: int, w: int, factor: int = 2) -> Tensor:
    """Return images that Squares reconstructs exactly."""
    images = torch.randint(256, (b, 3, h, w), generator=torch.Generator().manual_seed(0))
    return images.byte().repeat_interleave(factor, 2).repeat_interleave(factor, 3)


def unscaled(vae: VAE | TinyVAE, tile: int = 0) -> Latents:
    c = vae.config.latent
    return Latents(vae, torch.zeros(c), torch.ones(c), tile)


def test_every_value_survives_the_round_trip() -> None:
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    x = Pixels().encode(images)
    assert x.dtype == torch.float32
    assert (x.min(), x.max()) == (-1, 1)
    assert torch.equal(Pixels().decode(x), images)


def test_decoding_rounds_and_cuts() -> None:
    x = torch.tensor([-3.0, -1.0, 0.004, 0.999, 3.0])
    assert Pixels().decode(x).tolist() == [0, 0, 128, 255, 255]


def test_images_that_are_not_uint8_are_refused() -> None:
    with pytest.raises(UserError, match="convert them to uint8"):
        Pixels().encode(torch.rand(1, 3, 4, 4))


def test_pixels_are_their_own_latents() -> None:
    assert Pixels().latent_shape((3, 8, 6)) == Pixels().image_shape((3, 8, 6)) == (3, 8, 6)


def test_latents_are_scaled_by_channel_and_back() -> None:
    codec, images = Latents(Squares(), MEAN, STD), squared(2, 3, 5)
    z = codec.encode(images)
    assert z.dtype == torch.float32
    assert z.shape[1:] == codec.latent_shape((3, 6, 10)) == (3, 3, 5)
    assert codec.image_shape((3, 3, 5)) == (3, 6, 10)
    raw = Pixels().encode(images[..., ::2, ::2])
    for c in range(3):
        torch.testing.assert_close(z[:, c], (raw[:, c] - MEAN[c]) / STD[c])
    assert torch.equal(codec.decode(z), images)


def test_by_their_own_moments_latents_have_mean_0_and_deviation_1() -> None:
    images = squared(4, 8, 8)
    raw, _ = Latents(Squares(), MEAN, STD).moments(images)
    z = Latents(Squares(), raw.mean((0, 2, 3)), raw.std((0, 2, 3))).encode(images)
    torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-6)
    torch.testing.assert_close(z.std((0, 2, 3)), torch.ones(3))


def test_noise_samples_the_posterior() -> None:
    codec, images = Latents(Squares(log_variance=2.0), MEAN, STD), squared(1, 64, 64)
    noise = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    mean, std = codec.moments(images)
    torch.testing.assert_close(std, torch.full_like(mean, 2.0).div(2).exp())
    z = codec.encode(images, noise)
    assert torch.equal(z, codec.sample(mean, std, noise))
    apart = (z - codec.encode(images)) * STD.view(3, 1, 1)
    torch.testing.assert_close(apart, torch.e * noise, rtol=1e-5, atol=1e-5)


def test_a_flipped_picture_has_flipped_latents() -> None:
    images = torch.randint(256, (2, 3, 8, 12)).byte()
    codec = Latents(Squares(), MEAN, STD)
    torch.testing.assert_close(codec.encode(images.flip(3)), codec.encode(images).flip(3))


@pytest.mark.parametrize("tile", [0, 16])
def test_an_autoencoder_is_given_a_slice_at_once(tile: int) -> None:
    vae = Squares()
    codec, images = Latents(vae, MEAN, STD, tile), squared(130, 32, 32)
    z = codec.encode(images)
    assert vae.seen == [(64, 3, 64, 64), (64, 3, 64, 64), (2, 3, 64, 64)]
    vae.seen.clear()
    assert torch.equal(codec.decode(z), images)
    side, each = (tile, 9) if tile else (32, 1)
    assert vae.seen == [(b, 3, side, side) for b in (64, 64, 2) for _ in range(each)]
    vae.seen.clear()
    codec.encode(torch.zeros(2, 3, 1024, 512, dtype=torch.uint8))
    assert vae.seen == [(1, 3, 1024, 512)] * 2


def test_slices_change_no_more_than_a_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    codec, images = unscaled(VAE(VAEConfig(channels=(8, 8), blocks=1, groups=4))), squared(5, 8, 8)
    z = codec.encode(images)
    pictures = codec.decode(z).int()
    monkeypatch.setattr("mezzotint.pipeline.codec.SLICE", 2 * 16 * 16)
    torch.testing.assert_close(codec.encode(images), z, rtol=1e-5, atol=1e-6)
    assert (codec.decode(z).int() - pictures).abs().max() <= 1
    assert not z.requires_grad


@pytest.mark.parametrize("size", [(8, 8), (8, 9), (9, 8), (23, 8), (5, 30), (40, 31), (64, 64)])
@pytest.mark.parametrize("tile", [8, 11])
def test_tiles_of_a_local_autoencoder_are_exact(size: tuple[int, int], tile: int) -> None:
    vae = Squares()
    images = squared(2, *size)
    codec = Latents(vae, MEAN, STD, tile)
    z = codec.encode(images)
    vae.seen.clear()
    assert torch.equal(codec.decode(z), images)
    assert set(vae.seen) == {(2, 3, min(size[0], tile), min(size[1], tile))}


@pytest.mark.parametrize("tile", [8, 9, 64])
@pytest.mark.parametrize("more", [0, 1, 5, 7, 8, 30, 100])
def test_the_weights_of_tiles_sum_to_1(tile: int, more: int) -> None:
    places = starts(tile + more, tile)
    weights = blending(places, tile, tile + more)
    torch.testing.assert_close(weights.sum(0), torch.ones(tile + more))
    assert (weights >= 0).all()
    for row, place in zip(weights, places, strict=True):
        assert not row[:place].any()
        assert not row[place + tile :].any()
    overlaps = [a + tile - b for a, b in pairwise(places)]
    assert all(overlap >= tile // 4 for overlap in overlaps)


def test_tiles_are_blended_linearly() -> None:
    weights = blending([0, 6], 8, 14)
    assert weights[1].tolist() == [0] * 6 + [0.25, 0.75] + [1] * 6


@torch.no_grad()
def test_where_one_tile_alone_is_seen_convolutions_give_the_same() -> None:
    """The overlap of 8 exceeds the influence of a latent: 1 + 3, and two pixels."""
    torch.manual_seed(0)
    vae = TinyVAE(TinyVAEConfig(width=8, encoder=(0, 1), decoder=(1, 0)))
    z = torch.randn(1, 4, 32, 56)
    whole = unscaled(vae).decode(z).int()
    apart = (unscaled(vae, 32).decode(z).int() - whole).abs()
    alone = blending([0, 48], 64, 112).max(0).values == 1
    assert alone.sum() == 96
    assert apart[..., alone].max() <= 1  # a rounding
    assert apart.float().mean() < 1


@torch.no_grad()
def test_statistics_of_a_tile_make_a_small_difference() -> None:
    torch.manual_seed(0)
    vae = VAE(VAEConfig(channels=(16, 32), blocks=1, groups=8))
    z = torch.randn(1, 4, 48, 48)
    whole = unscaled(vae).decode(z).float()
    apart = unscaled(vae, 32).decode(z).float() - whole
    assert 0 < apart.std() < 0.1 * whole.std()


@torch.no_grad()
def test_sides_that_f_does_not_divide_are_padded_and_cut_again() -> None:
    torch.manual_seed(0)
    codec = unscaled(VAE(VAEConfig(channels=(8, 8), blocks=1, groups=4, patch=2))).of_size(6, 9)
    images = torch.randint(0, 256, (2, 3, 6, 9), dtype=torch.uint8)
    z = codec.encode(images)
    assert z.shape == (2, *codec.latent_shape((3, 6, 9))) == (2, 4, 2, 3)
    assert codec.image_shape((4, 2, 3)) == (3, 6, 9)
    whole = unscaled(codec.vae).decode(z)
    assert whole.shape == (2, 3, 8, 12)
    assert torch.equal(codec.decode(z), whole[..., :6, :9])
    assert codec.decode(torch.zeros(1, 4, 5, 5)).shape == (1, 3, 20, 20)  # not of that size
    assert codec.digest != unscaled(codec.vae).digest
    assert codec.of_size(8, 12).digest == unscaled(codec.vae).digest


def test_what_does_not_go_together_is_refused() -> None:
    codec = Latents(Squares(Config(factor=8, latent=4)), torch.zeros(4), torch.ones(4))
    with pytest.raises(UserError, match="the images have 1 channels but the autoencoder needs 3"):
        codec.latent_shape((1, 32, 32))
    with pytest.raises(UserError, match="latents have 3 channels but the autoencoder needs 4"):
        codec.decode(torch.randn(1, 3, 4, 4))
    with pytest.raises(UserError, match="convert them to uint8"):
        codec.encode(torch.rand(1, 3, 16, 16))
    with pytest.raises(UserError, match="`tile` is 4: choose a side of 8"):
        Latents(codec.vae, codec.mean, codec.std, 4)
