"""Invert images to noise, and interpolate images through their noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mezzotint.devices import sent
from mezzotint.diffusion.editing import inversion
from mezzotint.diffusion.level import Level
from mezzotint.diffusion.prediction import Denoiser
from mezzotint.diffusion.samplers import SAMPLERS
from mezzotint.diffusion.samplers.step import Noise
from mezzotint.errors import UserError
from mezzotint.networks.conditions import Labels
from mezzotint.pipeline import few_step
from mezzotint.pipeline.editing import Edit, Progress, blank, image_shape

if TYPE_CHECKING:
    from mezzotint.pipeline.pipeline import Pipeline


def invert(
    pipe: Pipeline,
    images: Tensor,
    labels: Labels = None,
    *,
    corrections: int = 10,
    batch: int = 64,
    on_step: Progress = None,
    **settings: Any,
) -> Tensor:
    """Return the noise from which DDIM samples the given images.

    DDIM's update is applied from clean to noisy (Song et al. 2020, arXiv 2010.02502, section 5.3).
    That inverts a step of `sample` only approximately, so each step is improved by fixed-point
    iterations, the corrections. If they converge, `sample` reproduces the images from the
    returned noise with the sampler ddim and the same steps, labels and guidance. If you invert
    without labels, pass ``guidance=0`` to `sample`. The default guidance of the inversion is 1;
    with larger scales the corrections converge less well.

    Args:
        pipe: The model.
        images: (N, C, H, W), or one image (C, H, W), uint8 unless ``pipe.values`` says otherwise.
        labels: One class for all images, or one for each; None is unconditional.
        corrections: The largest number of corrections per step, each with one call of the network;
            0 is Song's approximation.
        batch: The number of images inverted at once.
        on_step: ``on_step(done, all)`` is called after each call of the network. If some steps need
            fewer corrections, ``done`` ends below ``all``.
        **settings: Settings of `sample`, and the argument ``condition`` of `sample`. The sampler
            must be ddim, the default of this method, with eta 0.

    Returns:
        The noise of each image, (N, c, h, w) in the shape of the model's x, float32, on the CPU.

    Raises:
        UserError: If images have another type or size, the sampler is not ddim, eta is not 0, or
            the model is a few-step model.
    """
    few_step.refuse(pipe, "inversion")
    settings = {"sampler": "ddim", **settings}
    edit = Edit.of(pipe, images, labels, 0, batch, settings, plain=True)
    if edit.how.sampler != "ddim" or edit.how.eta:
        raise UserError(
            'inversion needs a deterministic sampler: choose `sampler="ddim"` with eta 0'
        )
    steps = edit.how.steps
    calls = len(edit.parts) * (steps * (corrections + 1))

    def work(part: slice, denoise: Denoiser, randn: Noise) -> Tensor:
        x = pipe.codec.encode(sent(edit.images[part], pipe.device))
        return inversion.invert(denoise, x, edit.grid, corrections)

    return torch.cat([x.cpu() for x in edit.work(work, calls, on_step)])


def interpolate(
    pipe: Pipeline,
    a: Tensor,
    b: Tensor,
    n: int = 8,
    labels: Labels | tuple[Labels, Labels] = None,
    *,
    corrections: int = 10,
    batch: int = 64,
    on_step: Progress = None,
    **settings: Any,
) -> Tensor:
    """Make a series of images from one image to another, by spherical interpolation of their noise.

    Images are inverted first; noises are used directly. For a latent model, a float tensor in the
    shape of the latents is noise. For a model of integer pixels, a float tensor in the shape of an
    image is noise if some value lies outside [-1, 1]. If two labels are given, the estimates of the
    clean image for both labels are interpolated linearly.

    Args:
        pipe: The model.
        a: The first image, (C, H, W), uint8 unless ``pipe.values`` says otherwise; or its noise
            from `invert`. For a model of float pixels, noise must have the shape (1, C, H, W).
        b: The last image, or its noise.
        n: The number of images, both ends included.
        labels: One class, or a tuple of the classes of the first and the last image.
        corrections: As in `invert`.
        batch: The number of images made at once.
        on_step: ``on_step(done, all)`` is called after each denoiser call of an inversion, and
            after each step of the sampling. The count starts again for each inversion and for the
            sampling.
        **settings: Settings of `sample`, and the argument ``condition`` of `sample`. The sampler
            must be ddim, the default of this method, with eta 0.

    Returns:
        Images (n, C, H, W), on the CPU, uint8 unless ``pipe.values`` says otherwise. The ends are
        sampled from the two noises.

    Raises:
        UserError: If an image has another type or size, the sampler is not ddim, eta is not 0, n is
            below 2, or the model is a few-step model.
    """
    if n < 2:
        raise UserError(f"`n` is {n}: choose 2 or more; the first and the last image count too")
    few_step.refuse(pipe, "interpolation")
    ends = labels if isinstance(labels, tuple) and len(labels) == 2 else (labels, labels)
    for name, x in (("a", a), ("b", b)):
        if isinstance(x, Tensor) and x.ndim == 4 and len(x) != 1:
            raise UserError(f"`{name}` holds {len(x)} images: give one image, (C, H, W)")
    noises = [
        x.reshape(1, *pipe.shape).float().cpu()
        if _is_noise(pipe, x)
        else invert(pipe, x, label, corrections=corrections, on_step=on_step, **settings)
        for x, label in zip((a, b), ends, strict=True)
    ]
    weights = torch.linspace(0, 1, n).view(n, 1, 1, 1)
    x = inversion.slerp(noises[0].expand(n, -1, -1, -1), noises[1].expand(n, -1, -1, -1), weights)
    settings = {"sampler": "ddim", **settings}
    images = blank(pipe, n)
    edits = [Edit.of(pipe, images, label, 0, batch, settings, plain=True) for label in ends]
    same = ends[0] is ends[1] or ends[0] == ends[1]
    one, two = (edits[0], edits[0]) if same else edits
    if one.how.sampler != "ddim" or one.how.eta:
        raise UserError(
            'interpolation needs a deterministic sampler: choose `sampler="ddim"` with eta 0'
        )

    def work(part: slice, denoise: Denoiser, randn: Noise) -> Tensor:
        weight, last = sent(weights[part], pipe.device), two.denoiser(part)

        def mixed(x: Tensor, level: Level) -> Tensor:
            return (1 - weight) * denoise(x, level) + weight * last(x, level)

        made = SAMPLERS["ddim"](
            denoise if one is two else mixed, sent(x[part], pipe.device), one.grid, randn=randn
        )
        return pipe.codec.decode(made).cpu()

    return torch.cat(list(one.work(work, len(one.parts) * one.how.steps, on_step)))


def _is_noise(pipe: Pipeline, x: Any) -> bool:
    """Return whether ``x`` is noise in the shape of the model's x, and not an image."""
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.shape[-3:] != pipe.shape:
        return False
    if image_shape(pipe) != pipe.shape:  # latents
        return True
    return x.ndim == 4 if pipe.values.dtype == "float32" else bool(x.abs().max() > 1)
