"""The recipes, which are configurations with a name."""

from __future__ import annotations

from mezzotint.config.experiment import Autoencoder, Configuration, Experiment
from mezzotint.config.sampling import SampleConfig
from mezzotint.config.sections import AugmentedConfig, CodecConfig, DataConfig, NoiseConfig
from mezzotint.errors import Registry
from mezzotint.networks import DiTConfig, UNetConfig, VAEConfig
from mezzotint.trainer.autoencoding import ReconstructionConfig
from mezzotint.trainer.loop import TrainConfig
from mezzotint.trainer.objective import ObjectiveConfig

IMAGENET100 = "hub:clane9/imagenet-100"  # short sides of 160 pixels suit sizes up to 128

_ALL: list[Configuration] = [
    # The default: legible digits from the embedded data set, in minutes on two cores.
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
    # Experiment A of the paper: DDPM as published (Ho et al. 2020), 61,000 steps of 128 images.
    Experiment(
        recipe="cifar10-ddpm",
        data=DataConfig(data="cifar10", conditional=False),
        net=UNetConfig(dropout=0.1),
        sample=SampleConfig(sampler="ddpm", steps=1000, spacing="linspace"),
    ),
    # Class-conditional CIFAR-10 for two cores: the U-Net runs at half the resolution.
    Experiment(
        recipe="cifar10-ddpm-small",
        data=DataConfig(data="cifar10"),
        net=UNetConfig(channels=(64, 96, 128), blocks=2, attention=(1,), patch=2),
        noise=NoiseConfig(schedule="cosine", prediction="v"),
        train=TrainConfig(
            images=600_000,
            batch=64,
            optimizer="muon",
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
    # CIFAR-10 for quality: 10 PFLOP, six hours on two cores. docs/results/recipe.md has the
    # measurements behind the settings.
    Experiment(
        recipe="cifar10-cpu",
        data=DataConfig(data="cifar10"),
        net=UNetConfig(channels=(96, 160, 256), blocks=1, attention=(1,), patch=2),
        noise=NoiseConfig(schedule="cosine", prediction="flow"),
        objective=ObjectiveConfig(weighting="learned"),
        train=TrainConfig(
            images=3_000_000,
            batch=128,
            lr=1e-3,
            weight_decay=0.01,
            warmup=25_600,
            cooldown=0.25,
            ema_halflife=60_000,
            snapshots=30_000,
        ),
        sample=SampleConfig("dpmpp_2m", steps=12, spacing="karras", guidance=2.0),
        log_every=12_800,
        sample_every=200_000,
        evaluate_every=200_000,
        evaluate_samples=1_000,
        save_every=50_000,
    ),
    # CIFAR-10 for an hour of a data-centre GPU: 440 PFLOP, at 120 TFLOP/s.
    Experiment(
        recipe="cifar10-hour",
        data=DataConfig(data="cifar10", non_leaking=0.12),
        net=UNetConfig(dropout=0.1),
        noise=NoiseConfig(schedule="cosine", prediction="flow"),
        objective=ObjectiveConfig(weighting="learned"),
        train=TrainConfig(
            images=12_000_000,
            batch=512,
            lr=6e-4,
            weight_decay=0.01,
            warmup=256_000,
            cooldown=0.25,
            ema_halflife=250_000,
            snapshots=120_000,
        ),
        sample=SampleConfig("dpmpp_2m", steps=20, spacing="karras", guidance=1.5),
        log_every=51_200,
        sample_every=1_000_000,
        evaluate_every=1_000_000,
        evaluate_samples=5_000,
        save_every=250_000,
    ),
    # Latent diffusion of the digits, and its autoencoder: each takes a few minutes on two cores.
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
    Experiment(
        recipe="glyphs-ldm",
        data=DataConfig(data="glyphs", flip=False),
        codec=CodecConfig(vae="runs/glyphs-vae"),
        net=UNetConfig(channels=(64, 96), blocks=1, attention=(), groups=8),
        noise=NoiseConfig(schedule="cosine", prediction="v"),
        objective=ObjectiveConfig(weighting="learned"),
        train=TrainConfig(
            images=160_000,
            batch=64,
            lr=1e-3,
            weight_decay=0.01,
            warmup=6_400,
            cooldown=0.5,
            ema_halflife=8_000,
        ),
        sample=SampleConfig(steps=50, guidance=2.0, clipping="none"),
        log_every=3_200,
        sample_every=40_000,
        save_every=32_000,
    ),
    # Latent diffusion of 100 classes of ImageNet at 64x64, and its autoencoder: each takes an hour
    # or two on two cores.
    Autoencoder(
        recipe="tiny-imagenet100-vae",
        data=AugmentedConfig(data="tiny-imagenet-100", size=64),
        net=VAEConfig(channels=(128, 128), blocks=1, latent=8, patch=2),
        loss=ReconstructionConfig(perceptual=0.1, perceptual_network="imagenet"),
        train=TrainConfig(
            images=80_000,
            batch=16,
            optimizer="muon",
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
    Experiment(
        recipe="tiny-imagenet100-ldm",
        data=DataConfig(data="tiny-imagenet-100", size=64),
        codec=CodecConfig(vae="runs/tiny-imagenet100-vae"),
        net=UNetConfig(channels=(96, 128, 192), attention=(1,)),
        noise=NoiseConfig(schedule="cosine", prediction="v"),
        objective=ObjectiveConfig(weighting="learned"),
        train=TrainConfig(
            images=400_000,
            batch=64,
            lr=8e-4,
            weight_decay=0.01,
            warmup=12_800,
            cooldown=0.5,
            ema_halflife=30_000,
        ),
        sample=SampleConfig(steps=50, guidance=2.5, clipping="none"),
        log_every=6_400,
        sample_every=50_000,
        save_every=25_000,
    ),
    # Experiment C of the paper: ImageNet-100 at 128x128, with latents of 32x32 (f4).
    Autoencoder(
        recipe="imagenet100-vae",
        data=AugmentedConfig(data=IMAGENET100, size=128),
        net=VAEConfig(channels=(128, 256, 512), latent=3),
        loss=ReconstructionConfig(
            perceptual=1.0, adversarial=0.5, adversarial_from=500_000, discriminator_layers=3
        ),
        train=TrainConfig(
            images=1_500_000, batch=32, lr=1e-4, warmup=32_000, cooldown=0.2, ema_halflife=50_000
        ),
        sample_every=100_000,
        save_every=100_000,
    ),
    Experiment(
        recipe="imagenet100-ldm",
        data=DataConfig(data=IMAGENET100, size=128),
        codec=CodecConfig(vae="runs/imagenet100-vae"),
        net=UNetConfig(channels=(192, 384, 576), attention=(1,), head_width=64),
        noise=NoiseConfig(schedule="cosine", prediction="v"),
        objective=ObjectiveConfig(weighting="learned"),
        train=TrainConfig(
            images=20_000_000,
            batch=256,
            lr=2e-4,
            warmup=640_000,
            cooldown=0.2,
            ema_halflife=500_000,
        ),
        sample=SampleConfig(steps=50, guidance=2.0, clipping="none"),
    ),
    # Larger images on larger machines: a transformer on the f8 latents of a published autoencoder.
    *(
        Experiment(
            recipe=f"imagenet100-ldm-{size}",
            data=DataConfig(data="imagenet-100", size=size),
            codec=CodecConfig(vae="hub:stabilityai/sd-vae-ft-mse", posterior="sample"),
            net=DiTConfig(patch=2, width=768, depth=12, heads=12),
            noise=NoiseConfig(schedule="cosine", prediction="v", shift=size / 256),
            objective=ObjectiveConfig(weighting="learned"),
            train=TrainConfig(
                images=40_000_000, batch=256, lr=1e-4, warmup=640_000, ema_halflife=900_000
            ),
            sample=SampleConfig(steps=50, guidance=2.0, clipping="none"),
        )
        for size in (256, 512)
    ),
]

RECIPES: Registry[Configuration] = Registry("recipe", {each.recipe: each for each in _ALL})
"""The recipes by name. You can add your own; see docs/extending.md."""
