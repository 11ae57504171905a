"""The training of an autoencoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from PIL.Image import Image
from torch import Tensor, nn

from mezzotint import config as configuration
from mezzotint.config.experiment import Autoencoder
from mezzotint.data import held_out, kornia_augmentation, rows
from mezzotint.data.augment import OF_COLOURS
from mezzotint.data.encoding import channel_moments
from mezzotint.drawing import figures
from mezzotint.drawing.colour import channel_statistics
from mezzotint.errors import UserError, counted
from mezzotint.evaluation.against import Against
from mezzotint.evaluation.autoencoder import SHOWN, spread_out
from mezzotint.evaluation.measuring import Measure, measure
from mezzotint.evaluation.reconstruction import reconstruct
from mezzotint.evaluation.samples import Follow
from mezzotint.metrics import Figure, perceptual
from mezzotint.metrics.interval import LEAST
from mezzotint.metrics.networks import choose
from mezzotint.networks import VAE
from mezzotint.networks.precision import compute_dtype
from mezzotint.pipeline.codec import Latents
from mezzotint.pipeline.loading import load_codec
from mezzotint.processes import Share
from mezzotint.run.job import Job, Tensors, begin, pixels
from mezzotint.trainer.autoencoding import Autoencoding, Distance
from mezzotint.trainer.loop import Examples, mixed

SCALED_BY = 1_000  # images for measuring the scale of the latents


def settled(experiment: Autoencoder, folder: Path, found: Path | None) -> Autoencoder:
    """Return the experiment with the network of ``init``, the autoencoder to start from.

    Without ``init``, the experiment is returned unchanged. If the run is resumed from the
    checkpoint ``found``, the network is that of the checkpoint. Raises UserError if ``init`` is
    anything other than a KL autoencoder.
    """
    if not experiment.init:
        return experiment
    if found:
        begun = configuration.read(found / "config.json", folder)
        return replace(experiment, net=begun.net) if isinstance(begun, Autoencoder) else experiment
    return replace(experiment, net=_initial(experiment.init).config)


def _initial(init: str) -> VAE:
    vae = load_codec(init, "cpu", "float32").vae
    if not isinstance(vae, VAE):
        raise UserError(
            f"{init} is a TAESD, which mezzotint cannot train: give a KL autoencoder as `init`"
        )
    return vae


def _suits(augment: tuple[str, ...], perceptual: float, channels: int) -> None:
    """Raise UserError if an augmentation or the perceptual distance cannot use the images.

    Some augmentations need RGB images. The perceptual distance needs RGB or grey images.
    """
    if channels != 3 and (needy := [name for name in augment if name in OF_COLOURS]):
        raise UserError(
            f"`augment={needy[0]}` needs RGB, but the images have {channels} channels: leave out "
            "this augmentation"
        )
    if perceptual and channels not in (1, 3):
        raise UserError(
            f"the perceptual distance needs RGB, but the images have {channels} channels: pass "
            "`perceptual=0`"
        )


def _perceptual(name: str, device: torch.device) -> Distance:
    """Return the perceptual distance; grey images get three equal channels."""
    distance = perceptual(name, device)
    return lambda a, b: distance(*(x.expand(-1, 3, -1, -1) for x in (a, b)))


class AutoencoderJob(Job):
    """The training of an autoencoder; see `Job`."""

    experiment: Autoencoder

    def __init__(self, experiment: Autoencoder, device: torch.device, found: Path | None) -> None:
        c, loss = experiment.data, experiment.loss
        self.experiment = experiment
        self.data = c.prepared()
        height, width, channels = self.data.images.shape[1:]
        torch.manual_seed(experiment.train.seed)
        net = VAE(experiment.net, channels)
        if experiment.init and not found:
            begun = _initial(experiment.init)
            if begun.image_channels != channels:
                raise UserError(
                    f"{experiment.init} is an autoencoder for images with "
                    f"{counted(begun.image_channels, 'channel')}, but the images of the data have "
                    f"{channels}: give another `init`, or leave it out"
                )
            net.load_state_dict(begun.state_dict())
        if loss.tune == "decoder":
            net.encoder.requires_grad_(False)
            net.quant.requires_grad_(False)
        net.to(device)
        zeros, ones = torch.zeros(experiment.net.latent), torch.ones(experiment.net.latent)
        shape = Latents(net, zeros, ones).latent_shape((channels, height, width))
        # The autoencoder is measured on held-out images, if the data set has any.
        self.pictures = held_out(self.data)
        if experiment.evaluate_every and len(self.pictures) < LEAST:
            raise UserError(
                f"`evaluate_every` needs {LEAST} held-out images or more, but the data has "
                f"{len(self.pictures)}: pass `evaluate_every=0`"
            )
        _suits(c.augment, loss.perceptual, channels)
        self.augment = kornia_augmentation(c.augment, (height, width)) if c.augment else None
        self.facts = {
            "shape": (channels, height, width),
            "classes": self.data.classes,
            "data": self.data.fingerprint,
            "colour": channel_statistics(self.data.some(10_000).images),
            **self.data.values.as_json(),
        }
        task = Autoencoding(
            *(loss, shape, cast(nn.Conv2d, net.decoder[-1]).weight),
            _perceptual(loss.perceptual_network, device) if loss.perceptual else None,
            channels,
            compute_dtype(experiment.precision, device),
        ).to(device)
        if task.discriminator is not None:  # refuse images that are too small before the training
            task.discriminator(torch.zeros(1, channels, height, width, device=device))
        self.state = begin(experiment.train, net, task)
        self.codec = Latents(
            *(cast(VAE, self.state.ema.module.eval()), zeros.to(device), ones.to(device)),
            values=self.data.values,
        ).of_size(height, width)

    def batch(self, start: int, count: int, u: Tensor) -> Examples:
        index = rows(self.experiment.train.seed, start, count, len(self.data.images))
        x = pixels(self.data, index, (u[:, -1] < 0.5) & self.experiment.data.flip)
        if self.augment:
            x = self.augment(x, mixed(self.experiment.train.seed, start, 0, 1))
        return Examples(x)

    def finished(self) -> tuple[dict[str, Any], Tensors]:
        """Return facts about the training set, and the statistics of the latents.

        The statistics are the mean (C,) and the standard deviation (C,) of the latents of some
        training images. A diffusion model with ``scaling="own"`` scales the latents by them.
        """
        images = spread_out(self.data, SCALED_BY)
        mean, std = self.codec.moments(images.to(self.device))
        centre, spread = channel_moments(mean, std)
        return self.facts, {"codec": {"mean": centre, "std": spread}}

    def sheet(self, follow: Callable[[int, int], None]) -> Image:
        """Draw some originals, each above its reconstruction."""
        chosen = spread_out(self.pictures, SHOWN)
        ready = self.codec.in_precision(self.dtype).of_size(*chosen.shape[2:])
        made = ready.decode(ready.encode(chosen.to(self.device))).cpu()
        see = self.data.values.visible
        return figures.pairs(see(chosen), see(made))

    def measure(self) -> Measure:
        against = Against("the originals", self.pictures.some(self.experiment.evaluate_samples))
        height, width = self.data.images.shape[1:3]
        return measure(choose(self.data.origin), against, (height, width), self.device)

    def distance(
        self, measure: Measure, folder: Path, share: Share, follow: Follow
    ) -> list[Figure]:
        share.wait()  # all processes must wait equally often, even if a signal ends one
        if share.number:
            return []
        originals = self.pictures.some(self.experiment.evaluate_samples)
        ready = self.codec.in_precision(self.dtype)
        return reconstruct(ready, originals, [measure], ("fd",), follow).figures
