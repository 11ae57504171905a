"""Faults of an autoencoder, whether alone or part of a latent diffusion model.

``mean`` and ``std`` (B, C, h, w) are the mean and standard deviation of the unscaled latents of
images (B, C, H, W).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from mezzotint.config.experiment import Autoencoder
from mezzotint.data import Prepared
from mezzotint.data.encoding import channel_moments
from mezzotint.doctor import weights
from mezzotint.doctor.examples import DENOISED, some
from mezzotint.doctor.finding import Finding, judge
from mezzotint.metrics import psnr
from mezzotint.networks import VAE
from mezzotint.networks.vae import kl_divergence
from mezzotint.pipeline.codec import Latents
from mezzotint.run.latents import ALIVE, MEAN, STD


def look(codec: Latents, data: Prepared, in_diffusion: bool) -> Iterator[Finding]:
    """Yield the findings of all checks of an autoencoder, on training images.

    ``in_diffusion`` says whether a diffusion model works in the autoencoder's latents. The scale of
    the latents is checked only in this case.
    """
    images, _ = some(data, DENOISED)
    mean, std = codec.moments(images.to(codec.mean.device))
    if in_diffusion:
        yield scaled(codec, mean, std)
    made = codec.decode(codec.sample(mean, std)).cpu()
    seen = codec.values.in_eight_bits
    yield reconstruction(seen(images), seen(made), codec.vae.config.factor)
    if isinstance(codec.vae, VAE):  # the latents of TAESD have no posterior
        yield dead(mean, std)
        yield exploding(mean, std, images[0].numel())


def scaled(codec: Latents, mean: Tensor, std: Tensor) -> Finding:
    """Return a finding on the mean and standard deviation of a diffusion model's input channels.

    The schedule assumes data of about unit variance. If latents have a standard deviation of 5, as
    is common without scaling, the image is hardly noisy at sigma = 1 (Rombach et al. 2022, arXiv
    2112.10752, appendix G). The bounds are the same as in `run.latents`: standard deviations of
    1/3 to 3, and means of -1.5 to 1.5.
    """
    centre, spread = channel_moments(mean, std)
    means, spread = (centre - codec.mean) / codec.std, spread / codec.std
    each = ", ".join(f"{m:.2f} +- {s:.2f}" for m, s in zip(means, spread, strict=True))
    bad = (spread < STD[0]) | (spread > STD[1]) | (means.abs() > MEAN)
    return judge(
        "latents not scaled",
        f"the mean and standard deviation of the channels are {each}; expected standard "
        f"deviations of {STD[0]:.2g} to {STD[1]:g}, and means of {-MEAN} to {MEAN}",
        "the autoencoder states no scale of its latents, or a scale that does not fit this data",
        'train with `scaling="measured"`',
        wrong=bool(bad.any() or not spread.isfinite().all()),
    )


def reconstruction(images: Tensor, made: Tensor, factor: int) -> Finding:
    """Return a finding that compares reconstructions with the means of f x f blocks, by PSNR.

    f is ``factor``, by which the autoencoder shrinks the sides of an image. Three latent channels
    can store the means, so an autoencoder with a lower PSNR has learned nothing. A PSNR below 20 dB
    is doubtful: this bound is one standard deviation below the 23.4 +- 3.8 dB of Stable Diffusion's
    autoencoder (f = 8).
    """
    found = float(psnr(images, made).mean())
    height, width = images.shape[2:]
    means = avg_pool2d(images.float(), factor, ceil_mode=True)
    blocks = interpolate(means, scale_factor=factor)[..., :height, :width]
    least = float(psnr(images, blocks.round().to(torch.uint8)).mean())
    return judge(
        "poor reconstruction",
        f"the PSNR of reconstructions is {found:.1f} dB; expected more than 20 dB, and more than "
        f"the {least:.1f} dB of the means of {factor}x{factor} blocks",
        "the autoencoder has hardly been trained, was trained on images of another kind, or has "
        "too few channels",
        "train the autoencoder longer, with more `latent` channels or a lower `kl`",
        wrong=found < least,
        doubtful=found < 20,
    )


def dead(mean: Tensor, std: Tensor) -> Finding:
    """Return a finding on whether every latent channel depends on the image.

    A channel is dead if its activity ``Var mean / (Var mean + E std^2)`` is below 0.01. The
    activity is that of Burda et al. 2016 (arXiv 1509.00519, section 5.2), after the latents are
    scaled to unit variance. A channel is also dead if the standard deviation of its values is less
    than `ALIVE` (0.01) times their mean. If all channels are dead, the posterior has collapsed.
    """
    centre, spread = channel_moments(mean, std)
    active = mean.var((0, 2, 3)) / spread.square()
    still = spread <= ALIVE * centre.abs() + 1e-6
    kl = kl_divergence(mean, 2 * std.log()).mean()
    gone = still | ~(active >= 0.01)
    return judge(
        "dead latent channels",
        f"{int(gone.sum())} of {len(gone)} channels are dead; the activity of all channels is "
        f"{', '.join(f'{a:.2g}' for a in active)}, expected above 0.01; the KL is {kl:.3g} nats an "
        "image",
        "the posterior has collapsed: the weight of the KL is too high"
        if gone.all()
        else "there are more channels than the data needs, or the weight of the KL is too high",
        "train with a lower `kl`, or with fewer `latent` channels",
        wrong=bool(gone.all()),
        doubtful=bool(gone.any()),
    )


def exploding(mean: Tensor, std: Tensor, numbers: int) -> Finding:
    """Return a finding that compares the KL of an image's latents with the capacity of its pixels.

    The KL is the divergence of the latents' posterior from N(0, I), averaged over the images. The
    capacity of an image of ``numbers`` values is ``numbers * ln 256`` nats.
    """
    kl = float(kl_divergence(mean, 2 * std.log()).mean())
    most = numbers * math.log(256)
    return judge(
        "posterior exploding",
        f"the KL is {kl:.3g} nats an image; expected less than {most:.3g}, the capacity of an "
        "image's pixels",
        "the weight of the KL is too low, or training diverged",
        "train with a higher `kl` or a lower `lr`",
        wrong=not kl < most,
    )


def lagging(
    codec: Latents,
    config: Autoencoder,
    data: Prepared,
    ema: weights.Weights,
    raw: weights.Weights,
) -> Finding:
    """Return a finding that compares an autoencoder's averaged and raw weights.

    See `weights.lagging` for the comparison.
    """
    images, _ = some(data, DENOISED)
    vae = deepcopy(cast(VAE, codec.vae))
    vae.load_state_dict(dict(raw))
    x = codec.values.encode(images)
    variance = (x - x.mean((0, 2, 3), keepdim=True)).square().mean()
    found = []
    for each in (codec, replace(codec, vae=vae)):
        made = codec.values.encode(each.decode(each.encode(images.to(codec.mean.device))).cpu())
        found.append((made - x).square().flatten(1).mean(1) / variance)
    apart = 0.0
    if not config.init:  # the initial weights of a fine-tuned autoencoder are not known
        with torch.random.fork_rng():
            torch.manual_seed(config.train.seed)
            apart = weights.distance(ema, raw, VAE(config.net, vae.image_channels).state_dict())
    return weights.lagging(apart, *found)
