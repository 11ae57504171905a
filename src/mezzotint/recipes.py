"""The named experiments."""

from __future__ import annotations

from mezzotint.errors import UserError
from mezzotint.experiment import (
    AugmentedConfig,
    Autoencoder,
    Configuration,
    DataConfig,
    Experiment,
    NoiseConfig,
    SampleConfig,
    nearest,
)
from mezzotint.nets import UNetConfig, VAEConfig
from mezzotint.training.autoencoding import ReconstructionConfig
from mezzotint.training.loop import TrainConfig

_ALL: list[Configuration] = [
    # The main job on the embedded default: legible digits in minutes on two cores.
    Experiment(
        recipe="glyphs-ddpm",
        data=DataConfig(data="glyphs", flip=False),
        net=UNetConfig(channels=(32, 64), blocks=1, attention=(), groups=8, patch=2),
        noise=NoiseConfig(schedule="cosine", prediction="v"),
        train=TrainConfig(
            images=80_000,
            batch=32,
            lr=1e-3,
            weight_decay=0.01,
            warmup=3_200,
            cooldown=0.5,
            ema_halflife=4_400,
        ),
        sample=SampleConfig(steps=50, guidance=2.0),
        log_every=1_600,
        sample_every=20_000,
        save_every=16_000,
    ),
    # Experiment A of arXiv 2412.14422: DDPM as published (Ho et al. 2020), 61,000 steps of 128.
    Experiment(
        recipe="cifar10-ddpm",
        data=DataConfig(data="cifar10", conditional=False),
        net=UNetConfig(dropout=0.1),
        sample=SampleConfig(sampler="ddpm", steps=1000, spacing="linspace"),
    ),
    # Class-conditional CIFAR-10 at a useful pace on two cores: the U-Net at half resolution.
    Experiment(
        recipe="cifar10-ddpm-small",
        data=DataConfig(data="cifar10"),
        net=UNetConfig(channels=(64, 96, 128), blocks=2, attention=(1,), patch=2),
        noise=NoiseConfig(schedule="cosine", prediction="v"),
        train=TrainConfig(
            images=600_000,
            batch=64,
            lr=1e-3,
            weight_decay=0.01,
            warmup=12_800,
            cooldown=0.4,
            ema_halflife=30_000,
        ),
        sample=SampleConfig(steps=50, guidance=2.5),
        log_every=6_400,
        sample_every=50_000,
        save_every=25_000,
    ),
    # An autoencoder and a latent diffusion model of the digits, in a few minutes on two cores.
    Autoencoder(
        recipe="glyphs-vae",
        data=AugmentedConfig(data="glyphs", flip=False),
        net=VAEConfig(channels=(32, 64), blocks=1, groups=8, latent=4, patch=2),
        loss=ReconstructionConfig(perceptual=0.1, perceptual_network="glyphs"),
        train=TrainConfig(
            images=48_000,
            batch=32,
            lr=1e-3,
            weight_decay=0.01,
            warmup=3_200,
            cooldown=0.5,
            ema_halflife=2_000,
        ),
        log_every=1_600,
        sample_every=16_000,
        save_every=16_000,
    ),
    # ImageNet at 64x64 to 16x16 latents, in an hour or two on two cores.
    Autoencoder(
        recipe="tiny-imagenet100-vae",
        data=AugmentedConfig(data="tiny-imagenet-100"),
        net=VAEConfig(channels=(128, 128), blocks=1, latent=4, patch=2),
        loss=ReconstructionConfig(
            perceptual=0.2,
            adversarial=0.3,
            adversarial_from=60_000,
            discriminator_width=32,
            discriminator_layers=2,
        ),
        train=TrainConfig(
            images=100_000,
            batch=16,
            lr=6e-4,
            weight_decay=0.01,
            warmup=3_200,
            cooldown=0.4,
            ema_halflife=4_000,
        ),
        log_every=1_600,
        sample_every=10_000,
        evaluate_every=10_000,
        save_every=10_000,
    ),
]

RECIPES = {experiment.recipe: experiment for experiment in _ALL}


def find(name: str) -> Configuration:
    """The recipe of that name. Raises UserError, offering the nearest, where there is none."""
    if name not in RECIPES:
        hint = nearest(name, list(RECIPES)) or f": choose one of {', '.join(RECIPES)}"
        raise UserError(f"unknown recipe {name!r}{hint}")
    return RECIPES[name]
