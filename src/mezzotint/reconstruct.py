"""An autoencoder measured: what it gives back of pictures, and what its latents are like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mezzotint import metrics
from mezzotint.codec import Latents
from mezzotint.data import Prepared
from mezzotint.evaluate import Follow, Measure
from mezzotint.metrics import Features, Figure, mean_figure, psnr, ssim
from mezzotint.nets.vae import kl_divergence

PART = 64  # pictures at once


@dataclass(frozen=True, eq=False)
class Reconstructions:
    """The figures, and the latents' mean and standard deviation per channel, as they are scaled."""

    figures: list[Figure]
    mean: Tensor
    std: Tensor


def reconstruct(
    codec: Latents,
    originals: Prepared,
    measures: Sequence[Measure],
    chosen: Sequence[str] = ("fd", "sfd", "kd"),
    follow: Follow = lambda what, done, total: None,
) -> Reconstructions:
    """Encode pictures to the posterior's mean, decode them, and compare.

    Figures: those ``chosen`` of `metrics.METRICS` against the measures' references (of the
    originals themselves: a perfect autoencoder has a distance of 0); psnr (dB) and ssim of each
    picture and its reconstruction; kl, the posterior's divergence from N(0, I) before scaling, in
    nats a picture. Each with its 95 % interval.
    """
    count = len(originals.images)
    seen = [Features(m.network, count) for m in measures]
    values: dict[str, list[Tensor]] = {"psnr": [], "ssim": [], "kl": []}
    total = square = torch.zeros(())
    for start in range(0, count, PART):
        follow("reconstructions", start, count)
        rows = np.array(originals.images[start : start + PART])  # off the disk
        images = torch.from_numpy(rows).permute(0, 3, 1, 2).contiguous()
        mean, std = codec.moments(images.to(codec.mean.device))
        z = codec.sample(mean, std)
        made = codec.decode(z).cpu()
        values["psnr"].append(psnr(images, made))
        values["ssim"].append(ssim(images, made))
        values["kl"].append(kl_divergence(mean, 2 * std.log()).cpu())
        spread = std / codec.std.view(-1, 1, 1)
        total = total + z.double().sum((0, 2, 3)).cpu()
        square = square + (z.double() ** 2 + spread.double() ** 2).sum((0, 2, 3)).cpu()
        for features in seen:
            features.add(made)
    figures: list[Figure] = []
    for features, m in zip(seen, measures, strict=True):
        figures += metrics.measure(features, m.reference, chosen)
    notes = {"psnr": "dB", "ssim": "1 is the original", "kl": "nats a picture"}
    figures += [mean_figure(name, torch.cat(values[name]), notes[name]) for name in values]
    numbers = count * z.shape[2] * z.shape[3]
    mean = total / numbers
    return Reconstructions(figures, mean, (square / numbers - mean**2).clamp(min=0).sqrt())
