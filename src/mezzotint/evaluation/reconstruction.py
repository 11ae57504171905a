"""Measure an autoencoder's latents, and compare its reconstructions with the originals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mezzotint.data import Prepared
from mezzotint.data.encoding import LatentMoments
from mezzotint.data.rgb import in_rgb
from mezzotint.errors import UserError
from mezzotint.evaluation.measuring import Measure
from mezzotint.evaluation.samples import Follow
from mezzotint.metrics import Features, Figure, mean_figure, psnr, ssim
from mezzotint.metrics.measure import enough
from mezzotint.metrics.networks import figure_name
from mezzotint.metrics.pairs import DISTANCES
from mezzotint.networks import TinyVAE
from mezzotint.networks.vae import kl_divergence
from mezzotint.pipeline.codec import SLICE, Latents
from mezzotint.storage.arrays import nchw


@dataclass(frozen=True, eq=False)
class Reconstructions:
    """The figures of `reconstruct`, and the mean and std (C,) of the scaled latents' channels."""

    figures: list[Figure]
    mean: Tensor
    std: Tensor


def reconstruct(
    codec: Latents,
    originals: Prepared,
    measures: Sequence[Measure],
    chosen: Sequence[str] = tuple(DISTANCES),
    follow: Follow = lambda what, done, total: None,
) -> Reconstructions:
    """Encode images, decode the posterior's mean, and compare the results with the originals.

    Returns the figures of this comparison, and the mean and standard deviation of the latents,
    which are computed from the posterior's moments. No latents are sampled. The figures, each with
    its 95 % interval, are:

    - the distances in DISTANCES whose names are in ``chosen``, once with each Measure in
      ``measures``; the reference of each Measure must be made from the originals;
    - psnr (dB) and ssim, the means over all pairs of an image and its reconstruction;
    - kl, the mean divergence of the posterior from N(0, I) before scaling, in nats per image;
      TAESD's latents are deterministic and have no kl.

    The distances of a perfect autoencoder are 0. Images and reconstructions form pairs and are
    therefore not independent. So the intervals of the Frechet distances are estimated from random
    halves of the pairs, and `kernel_of_pairs` computes kd.

    Raises UserError if there are fewer than 10 images, if the autoencoder does not take their
    number of channels, or if a reference was not made from the originals.
    """
    count = len(originals.images)
    enough(count)
    height, width = originals.images.shape[1:3]
    codec = codec.of_size(height, width)
    codec.latent_shape((originals.images.shape[3], height, width))  # errors before the work begins
    if measures and any(m.reference.origin.data != in_rgb(originals).fingerprint for m in measures):
        raise UserError(
            "the reference was not made from the originals: give a reference made from them"
        )
    seen = [Features(m.network, count) for m in measures]
    real = [Features(m.network, count) for m in measures if "sfd" in chosen]
    values: dict[str, list[Tensor]] = {"psnr": [], "ssim": [], "kl": []}
    latents = LatentMoments()
    part = max(1, SLICE // (height * width))
    for start in range(0, count, part):
        follow("reconstructions", start, count)
        images = nchw(originals.images[start : start + part])
        mean, std = codec.moments(images.to(codec.mean.device))
        z, spread = codec.sample(mean, std), std / codec.std.view(-1, 1, 1)
        made = codec.decode(z).cpu()
        values["psnr"].append(psnr(*map(codec.values.in_eight_bits, (images, made))))
        values["ssim"].append(ssim(*map(codec.values.in_eight_bits, (images, made))))
        values["kl"].append(kl_divergence(mean, 2 * std.log()).cpu())
        latents.add(z.cpu(), spread.cpu())
        for features in seen:
            features.add(codec.values.rgb(made))
        for features in real:
            features.add(codec.values.rgb(images))
    found: list[Figure] = []
    for k, (m, features) in enumerate(zip(measures, seen, strict=True)):
        spatial = real[k].spatial if real else None
        found += _distances(m, features, spatial, chosen)
    notes = {"psnr": "dB", "ssim": "1 for the original", "kl": "nats an image"}
    if isinstance(codec.vae, TinyVAE):
        del notes["kl"]
    found += [mean_figure(name, torch.cat(values[name]), note) for name, note in notes.items()]
    return Reconstructions(found, latents.mean, latents.std)


def _distances(
    m: Measure, made: Features, spatial: np.ndarray | None, chosen: Sequence[str]
) -> list[Figure]:
    """Return the chosen distances between the originals and their reconstructions.

    ``spatial`` are the spatial features of the originals, if a distance needs them.
    """
    network, origin = m.network, m.reference.origin
    real = {"pool": m.reference.pool.numpy(), "spatial": spatial}
    to = f"{origin.count:,} images of {origin.name}"
    found = []
    for name, (part, distance) in DISTANCES.items():
        originals = real[part]
        if name in chosen and originals is not None:
            value, bounds = distance(getattr(made, part), originals)
            told = network.name, network.resize, to
            found.append(Figure(figure_name(name, network.name), value, *bounds, made.done, *told))
    return found
