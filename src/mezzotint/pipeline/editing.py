"""Check a request to edit images, and split it into batches.

All methods of `Pipeline` that edit images use this module. Images are (N, C, H, W), or one image
(C, H, W), in the model's size and type, which is uint8 unless the model was trained on another
type. Labels are one class for all images, or one for each, by index or name. Without labels, a
model with classes is used unconditionally. The noise of image i depends on (seed, i) alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mezzotint.config.sampling import UNGUIDED, SampleConfig, chosen
from mezzotint.data.values import Values
from mezzotint.devices import in_full
from mezzotint.diffusion.guidance import along
from mezzotint.diffusion.level import Level
from mezzotint.diffusion.noise import noise as noise_of
from mezzotint.diffusion.prediction import Denoiser
from mezzotint.diffusion.samplers.step import Noise
from mezzotint.errors import UserError
from mezzotint.networks.conditions import Given, Labels
from mezzotint.pipeline import conditioning, sampling

if TYPE_CHECKING:
    from mezzotint.pipeline.pipeline import Pipeline

Progress = Callable[[int, int], None] | None
"""``on_step(done, all)`` is called after each network call, with the number of calls made so far
and the number of all calls."""


@dataclass(frozen=True)
class Edit:
    """A checked request: images, their conditions, settings and the batch size."""

    pipe: Pipeline
    images: Tensor
    every: Given | None  # the conditions of all images; None is unconditional
    how: SampleConfig
    grid: list[Level]
    seed: int
    batch: int

    @staticmethod
    def of(
        pipe: Pipeline,
        images: Tensor,
        labels: Labels,
        seed: int,
        batch: int,
        settings: dict[str, Any],
        plain: bool = False,
    ) -> Edit:
        """Return a request to edit images, after checking the arguments.

        ``settings`` are sampling settings, and may include ``condition``, the conditions other than
        the class. If ``settings`` have no guidance, the model's default guidance is used; but
        guidance is off if there are no labels and conditions, or if ``plain`` is true, as for
        inversion.

        Raises UserError if the images do not have the model's shape and type, or if an argument or
        a setting is wrong or does not suit the model.
        """
        settings = dict(settings)
        condition = settings.pop("condition", None)
        given = batched(images, pipe.values)
        if given.shape[1:] != image_shape(pipe):
            channels, height, width = image_shape(pipe)
            raise UserError(
                f"`images` are {tuple(given.shape[1:])} (channels, height, width), but the model's "
                f"are ({channels}, {height}, {width}): scale and crop the images first"
            )
        request = sampling.SampleRequest(len(given), seed, 0, batch)
        none = not conditioning.by_name(pipe, labels, condition)
        off = (none or plain) and settings.get("guidance") is None
        if off:
            lost = [name for name, no in UNGUIDED.items() if settings.get(name) not in (None, no)]
            if lost:
                raise UserError(
                    f"`{lost[0]}` has no effect without `guidance`: give `guidance` too, or leave "
                    f"out `{lost[0]}`"
                )
        how = chosen(pipe.defaults, settings)
        how = replace(how, **UNGUIDED) if off else how
        sampling.options(pipe, how)
        every = None if none else pipe.given(len(given), labels, condition)
        return Edit(pipe, given, every, how, pipe.grid(how), request.seed, request.batch)

    @property
    def parts(self) -> list[slice]:
        """The batches, each as a slice of indices of ``images``."""
        starts = range(0, len(self.images), self.batch)
        return [slice(i, min(i + self.batch, len(self.images))) for i in starts]

    def denoiser(self, part: slice, clipping: str | None = None) -> Denoiser:
        """Return the guided denoiser for ``part``, one of the batches in ``parts``."""
        given, how = sampling.rows_of(self.every, part), self.how
        scale = along(self.grid, *how.guided())
        return self.pipe._guided(given, scale, how.rescale, clipping or how.clipping)

    def work(
        self,
        work: Callable[[slice, Denoiser, Noise], Tensor],
        calls: int,
        on_step: Progress,
        clipping: str | None = None,
    ) -> Iterator[Tensor]:
        """Yield the result of ``work(part, denoise, randn)`` for each batch ``part`` in ``parts``.

        ``calls``, the number of denoiser calls for all batches, is passed to ``on_step``.
        """
        count = sampling.Count(on_step, calls)
        for part in self.parts:
            randn = noise_of(self.seed, range(part.start, part.stop))
            with torch.no_grad(), in_full(self.pipe.net.dtype):
                yield work(part, count.calls_of(self.denoiser(part, clipping)), randn)


def batched(images: Tensor, values: Values) -> Tensor:
    """Return images as (N, C, H, W), on the CPU.

    Raises UserError unless they are a tensor (N, C, H, W) or (C, H, W) of the model's type
    ``values``, with one image or more. If the type is not 8-bit, UserError is also raised for NaN,
    and for images that exceed the range of ``values`` by more than a quarter of its width.
    """
    right = isinstance(images, Tensor) and images.dtype == values.tensor_dtype
    if not right or images.ndim not in (3, 4):
        what = (
            f"{images.dtype} {tuple(images.shape)}"
            if isinstance(images, Tensor)
            else f"a {type(images).__name__}"
        )
        wanted = "uint8 tensor (N, C, H, W), 0 to 255"
        if not values.eight_bit:
            wanted = f"tensor (N, C, H, W) of {values}"
        raise UserError(f"`images` are {what}: give a {wanted}")
    if not len(images):
        raise UserError("there are no `images`: give one or more")
    if not values.eight_bit:
        seen = images.float()
        slack = (values.high - values.low) / 4  # by less, resizing may overshoot the range
        inside = (seen >= values.low - slack) & (seen <= values.high + slack)
        if not inside.all():  # which is so for NaN too
            raise UserError(
                f"`images` have values from {seen.min():g} to {seen.max():g}, but the model's are "
                f"{values}: scale or clip them first"
            )
    images = images.cpu()
    return images if images.ndim == 4 else images[None]


def blank(pipe: Pipeline, n: int) -> Tensor:
    """Return n black images of a pipeline's shape and type."""
    shape, values = image_shape(pipe), pipe.values
    return torch.full((n, *shape), values.low, dtype=values.tensor_dtype)


def image_shape(pipe: Pipeline) -> tuple[int, int, int]:
    """Return the shape (C, H, W) of a pipeline's images."""
    return pipe.codec.image_shape(pipe.shape)
