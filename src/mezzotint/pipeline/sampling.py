"""Sampling with a pipeline, batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import index
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mezzotint.config.sampling import SampleConfig
from mezzotint.devices import in_full, sent
from mezzotint.diffusion.guidance import along
from mezzotint.diffusion.level import Level
from mezzotint.diffusion.noise import noise
from mezzotint.diffusion.prediction import Denoiser
from mezzotint.diffusion.samplers import SAMPLERS
from mezzotint.diffusion.samplers.step import Noise
from mezzotint.errors import UserError
from mezzotint.networks.conditions import Given
from mezzotint.pipeline import few_step
from mezzotint.pipeline.codec import Latents

if TYPE_CHECKING:
    from mezzotint.pipeline.pipeline import Pipeline

Step = Callable[[int, int], None]
"""``on_step(done, total)`` gets the number of denoiser calls made so far, and of all calls."""
Estimate = Callable[[int, Level, Tensor, Tensor], None]
"""``on_estimate(i, level, x, x0_hat)``; i is the position of a batch's first image."""
MOST = 10_000_000
"""The largest number of images in one request, because all their labels are held in memory."""


@dataclass(frozen=True)
class SampleRequest:
    """A request for ``n`` images from index ``first`` on, made in batches of ``batch``.

    ``noise`` is the noise to start from, if it is not drawn from the seed.
    """

    n: int
    seed: int
    first: int
    batch: int
    noise: Tensor | None = None

    def __post_init__(self) -> None:
        for name, least in (("n", 1), ("batch", 1), ("seed", 0), ("first", 0)):
            number = getattr(self, name)
            if isinstance(number, bool) or not hasattr(number, "__index__") or number < least:
                raise UserError(f"`{name}` is {number!r}: choose {least} or more")
            object.__setattr__(self, name, index(number))  # numpy's small integers would overflow
        if self.n > MOST:
            raise UserError(
                f"`n` is {self.n:,}: make at most {MOST:,} images at a time, each time with "
                "another `seed`"
            )


def sample(
    pipe: Pipeline,
    how: SampleConfig,
    request: SampleRequest,
    given: Given | None,
    on_step: Step | None,
    on_images: Callable[[int, Tensor], None] | None,
    on_estimate: Estimate | None = None,
) -> Tensor:
    """Make the images of a request, (n, C, H, W); see `Pipeline.sample`.

    ``given`` are the conditions of the images, as `Pipeline.given` returns them.
    """
    sampler, further = SAMPLERS[how.sampler], options(pipe, how)
    n, first = request.n, request.first
    if request.noise is not None:
        _check_noise(request.noise, (n, *pipe.shape))
    grid = pipe.grid(how)
    scale = along(grid, *how.guided())
    calls = how.calls * -(-n // request.batch)
    pipe.net.compile_for(calls)
    images: list[Tensor] = []
    count = Count(on_step, calls)
    with torch.inference_mode(), in_full(pipe.net.dtype):
        for start in range(0, n, request.batch):
            part = range(start, min(start + request.batch, n))
            rows = rows_of(given, part)
            denoise = count.calls_of(pipe._guided(rows, scale, how.rescale, how.clipping))
            if on_estimate:
                denoise = _shown(denoise, on_estimate, start)
            randn = noise(request.seed, range(first + part.start, first + part.stop))
            x = _beginning(pipe, request, part, randn)
            x = sampler(denoise, x, grid, randn=randn, **further)
            images.append(pipe.codec.decode(x).cpu())
            if on_images:
                on_images(start, images[-1])
    return torch.cat(images)


def _check_noise(noise: object, shape: tuple[int, ...]) -> None:
    """Raise UserError unless ``noise`` is a float tensor of the shape ``shape``, all finite."""
    if not isinstance(noise, Tensor):
        what = f"a {type(noise).__name__}"
    elif noise.shape != shape or not noise.is_floating_point():
        what = f"{noise.dtype} {tuple(noise.shape)}"
    elif not noise.isfinite().all():
        what = "not finite everywhere"
    else:
        return
    raise UserError(
        f"`noise` is {what}: give a float tensor of the shape {shape}, such as `invert` returns"
    )


def _shown(denoise: Denoiser, on_estimate: Estimate, first: int) -> Denoiser:
    """Wrap a denoiser to call ``on_estimate(first, level, x, x0_hat)`` after each estimate."""

    def shown(x: Tensor, level: Level) -> Tensor:
        x0 = denoise(x, level)
        on_estimate(first, level, x, x0)
        return x0

    return shown


def rows_of(given: Given | None, part: range | slice) -> Given | None:
    """Return the conditions of the images whose indices are in ``part``."""
    return given and {name: rows[part.start : part.stop] for name, rows in given.items()}


def _beginning(pipe: Pipeline, request: SampleRequest, part: range, randn: Noise) -> Tensor:
    """Return the noise from which the images with the indices ``part`` are sampled."""
    if request.noise is not None:
        return sent(request.noise[part.start : part.stop].float(), pipe.device)
    return randn(torch.empty(len(part), *pipe.shape, device=pipe.device))


def options(pipe: Pipeline, how: SampleConfig) -> dict[str, Any]:
    """Return the options of the sampler: its arguments besides denoiser, x, grid and randn.

    If ``how.variance`` is "learned", the option ``variance`` is a function instead of a name; see
    `split_variance`. Raises UserError for settings that this model does not support.
    """
    check_clipping(pipe, how.clipping)
    few_step.check(pipe, how)
    found = how.keywords()
    if found.get("variance") == "learned":
        found["variance"] = pipe._split[1]
        if not pipe.learned_variance:
            raise UserError(
                'this model has not learned a variance: choose `variance="small"` or '
                '`variance="large"`'
            )
        if pipe.weaker and not how.guidance:
            raise UserError(
                "guidance 0 uses only the weaker model, but the stronger model learned the "
                'variance: choose `variance="small"` or `variance="large"`, or another `guidance`'
            )
    return found


def check_clipping(pipe: Pipeline, clipping: str) -> None:
    """Raise UserError for a latent model with any clipping but "none"."""
    if isinstance(pipe.codec, Latents) and clipping != "none":
        raise UserError('latents have no bounds to clip to: choose `clipping="none"`')


class Count:
    """Calls ``on_step`` after each denoiser call, with the number of calls made and the total."""

    def __init__(self, on_step: Step | None, calls: int) -> None:
        self.on_step, self.calls, self.made = on_step, calls, 0

    def calls_of(self, denoise: Denoiser) -> Denoiser:
        """Wrap a denoiser, so that the calls of the denoiser are counted."""

        def counted(x: Tensor, level: Level) -> Tensor:
            x0 = denoise(x, level)
            self.made += 1
            if self.on_step:
                self.on_step(self.made, self.calls)
            return x0

        return counted
