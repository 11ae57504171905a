"""Variations of images: add noise, then sample from that level."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mezzotint.devices import sent
from mezzotint.diffusion.prediction import Denoiser
from mezzotint.diffusion.samplers import SAMPLERS
from mezzotint.diffusion.samplers.step import Noise
from mezzotint.errors import UserError
from mezzotint.networks.conditions import Labels
from mezzotint.pipeline import sampling
from mezzotint.pipeline.editing import Edit, Progress

if TYPE_CHECKING:
    from mezzotint.pipeline.pipeline import Pipeline


def vary(
    pipe: Pipeline,
    images: Tensor,
    strength: float = 0.5,
    labels: Labels = None,
    *,
    seed: int = 0,
    batch: int = 64,
    on_step: Progress = None,
    **settings: Any,
) -> Tensor:
    """Make variations of images: add noise, then sample from that level (SDEdit).

    With labels of another class, images are turned into that class. The images may be sketches,
    photographs or samples (Meng et al. 2021, arXiv 2108.01073).

    Args:
        pipe: The model.
        images: (N, C, H, W), or one image (C, H, W), uint8 unless ``pipe.values`` says otherwise.
            For several variations of one image, repeat it.
        strength: The fraction of the sampling steps that are made, from 0 (the image does not
            change) to 1 (a new image).
        labels: One class for all images, or one for each; None is the null class.
        seed: The seed of all randomness.
        batch: The number of images made at once.
        on_step: ``on_step(done, all)`` is called after each denoiser call.
        **settings: Settings, and ``condition``; both are as in `sample`.

    Returns:
        Images (N, C, H, W), on the CPU, in the type of ``images``.

    Raises:
        UserError: If ``images`` do not have the type, channels and size of the model's images,
            ``strength`` is outside [0, 1], ``strength`` is above 0 but rounds to 0 steps, or a
            setting, a condition or a label does not exist or is not supported by this model.
    """
    edit = Edit.of(pipe, images, labels, seed, batch, settings)
    if not 0 <= strength <= 1:
        raise UserError(f"`strength` is {strength:g}: choose 0 to 1")
    if strength == 0:
        return edit.images.clone()
    made = round(strength * edit.how.steps)
    if made == 0:
        raise UserError(
            f"a `strength` of {strength:g} rounds to 0 of the {edit.how.steps} steps: raise "
            "`strength` or `steps`"
        )
    grid = edit.grid[edit.how.steps - made :]
    sampler, options = SAMPLERS[edit.how.sampler], sampling.options(pipe, edit.how)

    def work(part: slice, denoise: Denoiser, randn: Noise) -> Tensor:
        x0 = pipe.codec.encode(sent(edit.images[part], pipe.device))
        x = grid[0].alpha * x0 + grid[0].sigma * randn(x0)
        return pipe.codec.decode(sampler(denoise, x, grid, randn=randn, **options)).cpu()

    calls = len(edit.parts) * sampler.cost(made)
    return torch.cat(list(edit.work(work, calls, on_step)))
