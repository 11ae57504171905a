"""The latents that a diffusion model is trained on, and the codec that they belong to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from mezzotint.config.experiment import Experiment
from mezzotint.data import Prepared, PreparedLatents, prepare_latents
from mezzotint.errors import UserError
from mezzotint.networks import TinyVAE
from mezzotint.pipeline.codec import Codec, Latents, Pixels
from mezzotint.pipeline.codecs import codec_of
from mezzotint.pipeline.loading import load_codec
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.processes import ALONE, Share
from mezzotint.run.distilling import teacher_of

# Bounds for the statistics of latents; published scales stay within them.
STD, MEAN = (1 / 3, 3.0), 1.5
# The smallest standard deviation of a channel of latents, relative to its mean. The rounding of
# float16 is 30 times smaller.
ALIVE = 0.01


def encoded(
    experiment: Experiment,
    data: Prepared,
    device: torch.device,
    teacher: Pipeline | None,
    found: Path | None,
    share: Share = ALONE,
) -> tuple[Codec, PreparedLatents | None]:
    """Return the codec of a training, and the latents of the data (None for a model of pixels).

    If there is a teacher, the codec of the teacher is used. Otherwise, if the training resumes from
    the checkpoint ``found``, the codec of this checkpoint is used. Otherwise the codec that the
    configuration names is loaded, and scaled by the statistics of the data's latents if ``scaling``
    is "measured". Several processes share the encoding; see `prepare_latents`.

    Raises UserError if a channel of the latents hardly varies, if the mean of a scaled channel is
    not about 0, if the variance of a scaled channel is not about 1, if the model in ``found`` works
    on pixels, if the autoencoder does not take the images' number of channels, or if ``posterior``
    is "sample" for a new training with a TAESD.
    """
    c = experiment.codec
    if not c.vae:
        return Pixels(data.values), None
    known: Latents | None
    with share.first():
        if teacher:
            known = teacher.codec if isinstance(teacher.codec, Latents) else None
        else:
            known = codec_of(found, device) if found else None
        codec = known or load_codec(c.vae, device, "float32")
        height, width, channels = data.images.shape[1:]
        codec = replace(codec.of_size(height, width), values=data.values)
        codec.latent_shape((channels, height, width))  # refuse wrong channels before the encoding

    if c.posterior == "sample" and isinstance(codec.vae, TinyVAE) and not found:
        raise UserError(
            f'`posterior="sample"` has no effect because {c.vae} is a TAESD, whose latents have no '
            "variance: leave out `posterior`"
        )

    def moments(images: Tensor) -> tuple[Tensor, Tensor]:
        return codec.moments(images.to(device))

    deviations = c.posterior == "sample"
    latents = prepare_latents(
        data, moments, codec.vae.digest, experiment.data.flip, deviations, share
    )
    if dead := (latents.std <= ALIVE * latents.mean.abs() + 1e-6).nonzero().flatten().tolist():
        raise UserError(
            f"the latents of {c.vae} hardly differ from image to image in channel {dead[0]} "
            f"(mean {latents.mean[dead[0]]:.3g}, standard deviation {latents.std[dead[0]]:.1g}): "
            "choose another autoencoder, or train this autoencoder longer"
        )
    if c.scaling == "measured" and not known:
        codec = replace(codec, mean=latents.mean.to(device), std=latents.std.to(device))
    mean = (latents.mean - codec.mean.cpu()) / codec.std.cpu()
    std = latents.std / codec.std.cpu()
    if ((std < STD[0]) | (std > STD[1]) | (mean.abs() > MEAN)).any() or not std.isfinite().all():
        numbers = ", ".join(f"{m:.2f} +- {s:.2f}" for m, s in zip(mean, std, strict=True))
        raise UserError(
            f"the latents of {c.vae} do not have zero mean and unit variance (mean +- standard "
            f'deviation of each channel: {numbers}): pass `scaling="measured"`'
        )
    return codec, latents


def encode_together(
    experiment: Experiment, device: torch.device, found: Path | None, share: Share
) -> None:
    """Let all processes encode a training's images, and keep the latents in the cache.

    See `encoded` for the arguments and errors.
    """
    if not experiment.codec.vae:
        return
    with share.first():
        data = experiment.data.prepared()
        teacher = teacher_of(experiment, device)
    encoded(experiment, data, device, teacher, found, share)
