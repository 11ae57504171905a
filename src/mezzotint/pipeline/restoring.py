"""Fill in, enlarge and restore images from observations of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mezzotint.devices import sent
from mezzotint.diffusion.editing import operators
from mezzotint.diffusion.editing.operators import Operator
from mezzotint.diffusion.editing.posterior import POSTERIORS, Observation, pseudoinverse
from mezzotint.diffusion.editing.repaint import calls as calls_of
from mezzotint.diffusion.editing.repaint import repaint
from mezzotint.diffusion.guidance import CLIPPINGS
from mezzotint.diffusion.prediction import Denoiser
from mezzotint.diffusion.samplers import SAMPLERS
from mezzotint.diffusion.samplers.step import Noise
from mezzotint.errors import UserError, counted, unknown
from mezzotint.networks.conditions import Labels
from mezzotint.pipeline import few_step, sampling
from mezzotint.pipeline.codec import Latents
from mezzotint.pipeline.editing import Edit, Progress, batched, blank, image_shape

if TYPE_CHECKING:
    from mezzotint.pipeline.pipeline import Pipeline

METHOD = "mmps"  # the default of `restore` and `enlarge`, and of `inpaint` for models of pixels
REPAINT = "repaint"
IMPOSSIBLE = 0.3  # the largest share of the norm of y that may lie outside the operator's range
IN_LATENTS = (REPAINT, "ddnm")  # methods of `inpaint` that also work in latents


def inpaint(
    pipe: Pipeline,
    images: Tensor,
    mask: Tensor,
    labels: Labels = None,
    *,
    method: str | None = None,
    seed: int = 0,
    batch: int = 64,
    on_step: Progress = None,
    **settings: Any,
) -> Tensor:
    """Fill in a part of images.

    Pixels outside the mask are returned exactly as they were. Where the mask is between 0 and 1,
    the image and the filled-in part are blended.

    Args:
        pipe: The model.
        images: (N, C, H, W), or one image (C, H, W), uint8 unless ``pipe.values`` says otherwise.
        mask: The pixels to fill in: 1, True or 255 there, and 0 elsewhere. It is (H, W) for all
            images, or (N, H, W); float from 0 to 1, bool, or uint8 from 0 to 255. A uint8 mask
            that has only the values 0 and 1 is used like a bool mask.
        labels: One class for all images, or one for each; None is unconditional.
        method: A name in POSTERIORS, or "repaint" (Lugmayr et al. 2022, arXiv 2201.09865). A latent
            model supports "repaint" and "ddnm". None is "repaint" for a latent model, and "mmps"
            for a model of pixels.
        seed: The seed of all randomness.
        batch: The number of images made at once.
        on_step: ``on_step(done, all)`` is called after each call of the network.
        **settings: Settings of `sample`, and its ``condition``. The method repaint always makes
            DDPM's steps, so it takes no settings of the sampler.

    Returns:
        Images (N, C, H, W), on the CPU, in the type of ``images``.

    Raises:
        UserError: If the images or the mask have a wrong type or size, the mask is 0 everywhere or
            leaves nothing of an image to keep, or the method does not exist or does not fit the
            model or the settings. A pixel is kept if the mask is 0 there; a latent is kept if all
            of its pixels are kept.
    """
    few_step.refuse(pipe, "inpainting")
    latent = isinstance(pipe.codec, Latents)
    method = method_of(pipe, method, [name for name, v in settings.items() if v is not None])
    edit = Edit.of(pipe, images, labels, seed, batch, settings)
    fill = _mask(mask, edit.images)
    if latent and method not in IN_LATENTS:
        raise UserError(
            f"the method {method} needs a model of pixels, but this model works in latents: choose "
            f"the `method` {' or '.join(IN_LATENTS)}"
        )
    if method != REPAINT:
        _check_mode()
    factor = pipe.codec.vae.config.factor if isinstance(pipe.codec, Latents) else 1
    # A latent counts as known only if all of its pixels are known.
    hidden = F.max_pool2d((fill > 0).float(), factor, ceil_mode=True)
    if hidden.flatten(1).all(1).any():
        cells = "cell of the latents (a cell stands for several pixels)" if latent else "pixel"
        raise UserError(
            f"the `mask` touches every {cells}, so nothing of an image would be kept: fill in a "
            "smaller part"
        )

    def work(part: slice, denoise: Denoiser, randn: Noise) -> Tensor:
        known = 1 - sent(hidden[part], pipe.device)
        y = pipe.codec.encode(sent(edit.images[part], pipe.device))
        if method == REPAINT:
            x = repaint(denoise, randn(y), edit.grid, y, known, randn=randn)
        else:
            observed = Observation(known * y, operators.mask(known), 0.0)
            x = _posterior(edit, denoise, method, observed, randn)
        return pipe.codec.decode(x).cpu()

    calls = calls_of(edit.how.steps) if method == REPAINT else edit.how.calls
    # Posterior methods are clipped after the correction.
    clipping = None if method == REPAINT else "none"
    made = torch.cat(list(edit.work(work, len(edit.parts) * calls, on_step, clipping)))
    mixed = fill * made.float() + (1 - fill) * edit.images.float()
    whole = mixed if made.dtype == torch.float32 else mixed.round()
    return whole.to(made.dtype)


def method_of(pipe: Pipeline, method: str | None, given: Iterable[str]) -> str:
    """Return the method of `inpaint`; None is the default for the model.

    ``given`` are the names of the settings that the user gives. Raises UserError if there is no
    such method, or if the method is "repaint" and ``given`` has a setting of the sampler, which
    "repaint" would ignore.
    """
    method = method or (REPAINT if isinstance(pipe.codec, Latents) else METHOD)
    if method != REPAINT and method not in POSTERIORS:
        raise unknown("method", method, [REPAINT, *POSTERIORS])
    options = [name for sampler in SAMPLERS.values() for name in sampler.options]
    unused = [n for n in given if n in ("sampler", "sampler_options", "nfe", *options)]
    if method == REPAINT and unused:
        raise UserError(
            f"`{unused[0]}` has no effect with the method {REPAINT}, which makes DDPM's steps: "
            f"leave out `{unused[0]}`, or choose another `method`"
        )
    return method


def outpaint(
    pipe: Pipeline,
    images: Tensor,
    labels: Labels = None,
    *,
    place: tuple[int, int] | None = None,
    **options: Any,
) -> Tensor:
    """Continue images beyond their borders, to the size of the model.

    Args:
        pipe: The model.
        images: (N, C, h, w), or one image (C, h, w), smaller than the model's images; uint8 unless
            ``pipe.values`` says otherwise.
        labels: One class for all images, or one for each; None is unconditional.
        place: The row and the column of the result at which the given image begins; by default the
            image is in the middle.
        **options: Options of `inpaint`: method, seed, batch, on_step, and the settings of `sample`.

    Returns:
        Images (N, C, H, W), in the model's size, on the CPU, in the type of ``images``.

    Raises:
        UserError: If the images do not fit at that place or are not smaller than the model's
            images, or if `inpaint` does not accept an option.
    """
    given = batched(images, pipe.values)
    channels, *whole = image_shape(pipe)
    _check_channels(given, channels)
    sides = given.shape[2:]
    room = [outer - inner for outer, inner in zip(whole, sides, strict=True)]
    place = (room[0] // 2, room[1] // 2) if place is None else place
    if min(room) < 0 or not any(room):
        raise UserError(
            f"the images are {sides[0]}x{sides[1]}, not smaller than this model's images of "
            f"{whole[0]}x{whole[1]} (height x width): scale them down first"
        )
    if [*map(type, place)] != [int, int] or any(
        not 0 <= at <= free for at, free in zip(place, room, strict=True)
    ):
        raise UserError(
            f"`place` is {place}: choose a row from 0 to {room[0]} and a column from 0 to {room[1]}"
        )
    rows, columns = (slice(at, at + side) for at, side in zip(place, sides, strict=True))
    canvas = given.new_full((len(given), channels, *whole), pipe.values.middle)
    canvas[:, :, rows, columns] = given
    mask = torch.ones(*whole)
    mask[rows, columns] = 0
    return inpaint(pipe, canvas, mask, labels, **options)


def enlarge(
    pipe: Pipeline,
    images: Tensor,
    factor: int = 2,
    labels: Labels = None,
    *,
    method: str = METHOD,
    seed: int = 0,
    batch: int = 64,
    on_step: Progress = None,
    **settings: Any,
) -> Tensor:
    """Enlarge images by an integer factor to the size of the model.

    Each given pixel is assumed to be the mean of the ``factor * factor`` pixels that replace it.

    Args:
        pipe: The model.
        images: (N, C, H, W), or one image (C, H, W), in the model's size divided by the factor;
            uint8 unless ``pipe.values`` says otherwise.
        factor: The factor by which height and width grow, 2 or more.
        labels: One class for all images, or one for each; None is unconditional.
        method: A name in POSTERIORS.
        seed: The seed of all randomness.
        batch: The number of images made at once.
        on_step: ``on_step(done, all)`` is called after each call of the network.
        **settings: Settings of `sample`, and its ``condition``.

    Returns:
        Images (N, C, H, W), in the model's size, on the CPU, in the type of ``images``.

    Raises:
        UserError: If the factor does not bring the images to the model's size, or the method does
            not exist or does not fit the model.
    """
    given = batched(images, pipe.values)
    channels, height, width = image_shape(pipe)
    _check_channels(given, channels)
    if isinstance(factor, bool) or not isinstance(factor, int) or factor < 2:
        raise UserError(f"`factor` is {factor!r}: choose a whole number of 2 or more")
    if given.shape[2:] != (height // factor, width // factor):
        raise UserError(
            f"images of {given.shape[2]}x{given.shape[3]}, enlarged {factor} times, do not have "
            f"this model's size of {height}x{width} (height x width): choose another `factor`, or "
            "scale the images first"
        )
    return restore(
        *(pipe, pipe.values.encode(given), operators.average(factor), labels),
        method=method, seed=seed, batch=batch, on_step=on_step, **settings,
    )  # fmt: skip


def restore(
    pipe: Pipeline,
    y: Tensor,
    operator: Operator | Callable[[Tensor], Tensor],
    labels: Labels = None,
    *,
    noise: float = 0.0,
    method: str = METHOD,
    seed: int = 0,
    batch: int = 64,
    on_step: Progress = None,
    **settings: Any,
) -> Tensor:
    """Sample images x0, given an observation ``y = A x0 + noise``.

    ```python
    sharp = pipe.restore(blurred, mz.OPERATORS["blur"](1.5), noise=0.05)
    ```

    Args:
        pipe: The model.
        y: The observations, (N, ...): float observations are outputs of A for images scaled to
            [-1, 1]. Integer observations have the type of the model's images. With a linear A,
            integer observations are outputs of A for unscaled images (0 to 255 for uint8). With any
            other A, mezzotint scales integer observations to [-1, 1], as it scales images.
        operator: The operator A: an `Operator`, such as one from OPERATORS, or a linear function of
            images (B, C, H, W).
        labels: One class for all images, or one for each; None is unconditional.
        noise: The standard deviation of the noise in y, on the scale on which images are in
            [-1, 1]; 0 or more.
        method: A name in POSTERIORS. "ddnm" is for y without noise. "dps" allows a nonlinear A and
            ignores ``noise``; latent models support only "dps".
        seed: The seed of all randomness.
        batch: The number of images made at once.
        on_step: ``on_step(done, all)`` is called after each call of the network.
        **settings: Settings of `sample`, and its ``condition``.

    Returns:
        Images (N, C, H, W), on the CPU, uint8 unless ``pipe.values`` says otherwise.

    Raises:
        UserError: If y or the operator does not fit the model's images, y is not finite or not an
            output of the operator, ``noise`` is below 0 or not finite, or the method does not exist
            or does not fit the operator, the noise or the model.
    """
    few_step.refuse(pipe, "restoration")
    _check_mode()
    operator = operator if isinstance(operator, Operator) else Operator(operator)
    if not isinstance(y, Tensor) or not y.numel():
        what = "empty" if isinstance(y, Tensor) else f"a {type(y).__name__}"
        raise UserError(f"`y` is {what}: give a tensor (N, ...) of N observations, 1 or more")
    y = y.cpu()
    seen = y.float() if y.is_floating_point() else pipe.values.encode(y)
    if not seen.isfinite().all():
        raise UserError("`y` has values that are not finite: correct or mask them")
    if method not in POSTERIORS:
        raise unknown("method", method, list(POSTERIORS))
    if not 0 <= noise < math.inf:  # this refuses NaN too
        raise UserError(f"`noise` is {noise:g}: choose 0 or more")
    if noise and method == "ddnm":
        raise UserError(
            'the method ddnm assumes that `y` has no noise: choose `method="mmps"` or '
            '`method="pigdm"`'
        )
    images = blank(pipe, len(seen))
    edit = Edit.of(pipe, images, labels, seed, batch, settings)
    zeros = torch.zeros_like(images[:1])
    operator.check(zeros.float(), seen[:1])
    if operator.linear:
        if not y.is_floating_point():
            # The encoding is x -> k x + e, so A (k x + e) = k y + A e, but ``seen`` is k y + e.
            e = pipe.values.encode(zeros)
            seen = seen + operator(e) - e.flatten()[0]
        for part in edit.parts:
            _check_range(operator, seen[part], images[part].float(), noise)
    codec = pipe.codec
    if method != "dps" and (isinstance(codec, Latents) or not operator.linear):
        why = (
            "this model works in latents"
            if isinstance(codec, Latents)
            else "the operator is not linear"
        )
        raise UserError(f'{why}: choose `method="dps"`')
    if isinstance(codec, Latents):
        decoded, pixels = codec, operator
        operator = Operator(lambda z: pixels(decoded.pixels(z)), linear=False)

    def work(part: slice, denoise: Denoiser, randn: Noise) -> Tensor:
        observed = Observation(sent(seen[part], pipe.device), operator, noise)
        x = _posterior(edit, denoise, method, observed, randn)
        return pipe.codec.decode(x).cpu()

    return torch.cat(list(edit.work(work, len(edit.parts) * edit.how.calls, on_step, "none")))


def _check_channels(images: Tensor, channels: int) -> None:
    """Raise UserError unless images (N, C, h, w) have the channels of the model's images."""
    if images.shape[1] != channels:
        raise UserError(
            f"the images have {counted(images.shape[1], 'channel')}, but the model's have "
            f"{channels}: convert them first"
        )


def _posterior(
    edit: Edit, plain: Denoiser, method: str, observed: Observation, randn: Noise
) -> Tensor:
    """Return samples x for a batch, given the batch's observation.

    The denoiser ``plain`` does not clip its estimates. The estimates of the posterior, which are
    corrected by the observation, are clipped.
    """
    pipe, how = edit.pipe, edit.how
    posterior = POSTERIORS[method](plain, observed, edit.grid)
    x = randn(torch.empty(len(observed.y), *pipe.shape, device=pipe.device))
    clipped = CLIPPINGS[how.clipping](posterior)
    return SAMPLERS[how.sampler](clipped, x, edit.grid, randn=randn, **sampling.options(pipe, how))


def _check_mode() -> None:
    """Raise UserError in torch's inference mode, in which nothing can be differentiated."""
    if torch.is_inference_mode_enabled():
        raise UserError(
            "this method needs gradients, but torch.inference_mode() is on: call it outside of "
            "inference mode"
        )


def _check_range(operator: Operator, y: Tensor, like: Tensor, noise: float) -> None:
    """Raise UserError if an observation in y cannot be ``A x`` plus noise.

    Such an observation is too large for an image x in [-1, 1], or a large part of it lies outside
    the range of A, the linear ``operator``. The posterior methods would give wrong images for it.
    ``like`` has the shape of the images (N, C, H, W), and ``noise`` is the standard deviation of
    the noise in y.
    """
    size, noisy = y.flatten(1).norm(dim=1), 2 * noise * y[0].numel() ** 0.5
    if (size > 2 * operator.norm(like[:1]) * like[0].numel() ** 0.5 + noisy).any():
        raise UserError(
            "`y` is too large to be the operator's output for images in [-1, 1]: compute `y` from "
            "images in this range"
        )
    apart = (y - operator(pseudoinverse(operator, y, like))).flatten(1).norm(dim=1)
    if (apart > IMPOSSIBLE * size + noisy).any():
        raise UserError(
            "a large part of `y` cannot come from the operator: give an output of this operator "
            "as `y`, and the standard deviation of its noise as `noise`"
        )


def _mask(mask: Tensor, images: Tensor) -> Tensor:
    """Return the mask as float (N, 1, H, W) from 0 to 1."""
    right = isinstance(mask, Tensor) and mask.shape[-2:] == images.shape[-2:]
    if not right or (mask.ndim > 3 and mask.shape[1:-2] != (1,)):  # not channels of an image
        shape = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        raise UserError(
            f"the `mask` is {shape}, but the images are {images.shape[2]}x{images.shape[3]} "
            "(height x width): give a tensor (H, W) or (N, H, W)"
        )
    fill = shares(mask.cpu()).reshape(-1, 1, *mask.shape[-2:])
    if len(fill) not in (1, len(images)):
        raise UserError(
            f"there are {len(fill)} masks for {counted(len(images), 'image')}: give one mask "
            "for all images, or one for each image"
        )
    if not ((fill >= 0) & (fill <= 1)).all():
        raise UserError(
            "the `mask` has values outside 0 to 1: give 1 for the part to fill in, and 0 elsewhere"
        )
    if (fill == 0).flatten(1).all(1).any() or (fill == 1).flatten(1).all(1).any():
        raise UserError(
            "the `mask` is all 0 or all 1: give 1 for the part to fill in, and 0 elsewhere"
        )
    return fill.expand(len(images), -1, -1, -1)


def shares(mask: Tensor) -> Tensor:
    """Convert a mask to float. A uint8 mask is divided by 255 if it has a value above 1."""
    bytewise = mask.dtype == torch.uint8 and bool((mask > 1).any())
    return mask.float() / (255 if bytewise else 1)
