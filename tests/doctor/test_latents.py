"""The doctor's findings about latents made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import mezzotint as mz
from mezzotint.data import Prepared
from mezzotint.doctor import latents
from mezzotint.networks import VAE, VAEConfig
from mezzotint.pipeline.codec import Latents


def test_latents_are_named_for_what_they_are(digits) -> None:
    draw = torch.Generator().manual_seed(0)
    mean = 4 + 5 * torch.randn(64, 3, 8, 8, generator=draw)
    std = torch.full_like(mean, 0.1)
    vae = VAE(VAEConfig(channels=(8, 16), blocks=1, groups=4))
    ones = torch.ones(3)
    assert latents.scaled(Latents(vae, 0 * ones, ones), mean, std).severity == "wrong"
    assert latents.scaled(Latents(vae, 4 * ones, 5 * ones), mean, std).severity == "well"

    assert latents.dead(mean, std).severity == "well"
    one, all_ = mean.clone(), 0.01 * torch.randn(64, 3, 8, 8, generator=draw)
    one[:, 1] = 3
    assert latents.dead(one, std).severity == "doubtful"
    assert latents.dead(all_, torch.ones_like(all_)).severity == "wrong"
    assert latents.dead(all_ + 50, std / 1e4).severity == "wrong"  # too still for half precision

    assert latents.exploding(mean, std, 3 * 32 * 32).severity == "well"
    assert latents.exploding(1e3 * mean, std, 3 * 32 * 32).severity == "wrong"
    assert latents.exploding(mean / 0, std, 3 * 32 * 32).severity == "wrong"

    images = digits[0][:64]
    near = (images.float() + 5 * torch.randn(images.shape)).clamp(0, 255).byte()
    assert latents.reconstruction(images, near, 4).severity == "well"
    assert latents.reconstruction(images, torch.full_like(images, 60), 4).severity == "wrong"


def test_the_average_of_a_grey_autoencoder_is_compared_with_its_own_beginning() -> None:
    config = replace(mz.RECIPES["glyphs-vae"], net=VAEConfig(channels=(8,), blocks=1, groups=4))
    torch.manual_seed(config.train.seed)
    vae = VAE(config.net, 1)
    raw, ema = ({k: v + far for k, v in vae.state_dict().items()} for far in (0.02, 0.01))
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), np.uint8)
    data = Prepared(images, np.zeros(4, np.int64), (), "", Path())
    codec = Latents(vae, torch.zeros(4), torch.ones(4))
    found = latents.lagging(codec, config, data, ema, raw)
    assert found.measured.startswith("the average is 0.50 of the way")
