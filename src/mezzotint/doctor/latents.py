"""What an autoencoder tells, of its own or under a diffusion model.

``mean`` and ``std`` (B, C, h, w) are the moments of raw latents given pictures uint8 (B, 3, H, W).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from mezzotint.doctor.finding import Finding, judge
from mezzotint.metrics import psnr
from mezzotint.networks.vae import kl_divergence
from mezzotint.pipeline.codec import Latents
from mezzotint.run.diffusion import ALIVE, MEAN, STD


def scaled(codec: Latents, mean: Tensor, std: Tensor) -> Finding:
    """Mean and standard deviation of each channel as the diffusion sees it.

    The schedule takes the data to be of about unit variance: at sigma = 1 of latents of deviation
    5, as an unscaled autoencoder's are, the picture is hardly noisy (Rombach et al. 2022, arXiv
    2112.10752, appendix G). The bounds are those of `run.diffusion`: 1/3 to 3, and a mean of 1.5.
    """
    means = (mean.mean((0, 2, 3)) - codec.mean) / codec.std
    spread = (mean.var((0, 2, 3)) + std.square().mean((0, 2, 3))).sqrt() / codec.std
    told = ", ".join(f"{m:.2f} +- {s:.2f}" for m, s in zip(means, spread, strict=True))
    bad = (spread < STD[0]) | (spread > STD[1]) | (means.abs() > MEAN)
    return judge(
        "latents unscaled",
        f"{told}; expected deviations of {STD[0]:.2g} to {STD[1]:g}, means within {MEAN}",
        "the autoencoder's own scale is not that of this data, or there is none",
        "train with --scaling measured",
        wrong=bool(bad.any() or not spread.isfinite().all()),
    )


def reconstruction(images: Tensor, made: Tensor, factor: int) -> Finding:
    """PSNR of what comes back, against that of the means of blocks of f x f pixels.

    Three channels of latents hold those means as they are: an autoencoder that does worse has
    learned nothing. 20 dB is a standard deviation below Stable Diffusion's 23.4 +- 3.8 (f8).
    """
    found = float(psnr(images, made).mean())
    blocks = interpolate(avg_pool2d(images.float(), factor), scale_factor=factor)
    least = float(psnr(images, blocks.round().to(torch.uint8)).mean())
    return judge(
        "poor reconstruction",
        f"PSNR {found:.1f} dB, of the means of {factor}x{factor} blocks {least:.1f}; expected more "
        "than that and 20",
        "hardly trained, another kind of pictures than it was trained on, or too few channels",
        "train the autoencoder longer, with a larger --latent or a lower --kl",
        wrong=found < least,
        doubtful=found < 20,
    )


def dead(mean: Tensor, std: Tensor) -> Finding:
    """Channels that say nothing of the picture: ``Var mean / (Var mean + E std^2)`` below 0.01.

    That is Burda et al. 2016's measure of activity (arXiv 1509.00519, section 5.2), there of
    latents of unit variance. Or those whose deviation is below what half precision keeps beside
    their mean. Where all are, the posterior has collapsed.
    """
    centre, moved = mean.mean((0, 2, 3)), mean.var((0, 2, 3))
    active = moved / (moved + std.square().mean((0, 2, 3)))
    still = (moved + std.square().mean((0, 2, 3))).sqrt() <= ALIVE * centre.abs() + 1e-6
    kl = kl_divergence(mean, 2 * std.log()).mean()
    gone = still | ~(active >= 0.01)
    return judge(
        "dead latent channels",
        f"{int(gone.sum())} of {len(gone)} channels, of activity "
        f"{', '.join(f'{a:.2g}' for a in active)}; expected above 0.01; KL {kl:.3g} nats a picture",
        "the posterior has collapsed: the weight of the KL is too high"
        if gone.all()
        else "more channels than are needed, or the weight of the KL is too high",
        "train with a lower --kl, or with fewer --latent channels",
        wrong=bool(gone.all()),
        doubtful=bool(gone.any()),
    )


def exploding(mean: Tensor, std: Tensor, numbers: int) -> Finding:
    """The KL of a picture, against the most that its bytes can say: ``numbers * ln 256`` nats."""
    kl = float(kl_divergence(mean, 2 * std.log()).mean())
    most = numbers * math.log(256)
    return judge(
        "posterior exploding",
        f"KL {kl:.3g} nats a picture; expected less than {most:.3g}, which is all its pixels hold",
        "the weight of the KL is too low, or training diverged",
        "train with a higher --kl or a lower --lr",
        wrong=not kl < most,
    )
