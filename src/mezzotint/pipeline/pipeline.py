"""A finished model that makes pictures."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mezzotint.config.sampling import SampleConfig, chosen
from mezzotint.diffusion import prediction
from mezzotint.diffusion.guidance import CLIPPINGS, Scale, along, doubled, guide
from mezzotint.diffusion.level import Level, Schedule
from mezzotint.diffusion.noise import noise
from mezzotint.diffusion.optimised_grid import optimised, path
from mezzotint.diffusion.prediction import Denoiser, Net, split_variance
from mezzotint.diffusion.samplers import SAMPLERS
from mezzotint.errors import UserError
from mezzotint.networks import Network
from mezzotint.networks.precision import compute_dtype
from mezzotint.pipeline.codec import Codec, Latents, Pixels
from mezzotint.pipeline.grids import remembered
from mezzotint.pipeline.labels import Labels, integers
from mezzotint.storage.cache import cache_folder


@dataclass(frozen=True, eq=False)
class Pipeline:
    """A network, the schedule it was trained on, and how pictures are made of the two.

    ``net(x, t, labels)`` is the raw network: x (B, C, H, W), t (B,), labels (B,) or None.
    """

    net: Network
    schedule: Schedule
    prediction: str
    shape: tuple[int, int, int]  # of one picture as the network sees it: C, H, W
    classes: tuple[str, ...] = ()  # names; none for an unconditional network
    defaults: SampleConfig = field(default_factory=SampleConfig)
    codec: Codec = field(default_factory=Pixels)
    colour: dict[str, list[float]] | None = None  # mean and std of the training set's channels
    data: str | None = None  # fingerprint of the training set
    home: Path | None = None  # where it was loaded from, and what is measured of it is kept
    learned_variance: bool = False  # its second C channels say the variance of DDPM's steps
    weaker: Pipeline | None = None  # guides in the place of the unconditional network

    @property
    def size(self) -> tuple[int, int]:
        """Of the pictures: H, W."""
        return self.codec.picture_shape(self.shape)[1:]

    @property
    def device(self) -> torch.device:
        return next(self.net.parameters()).device

    def in_precision(self, precision: str) -> Pipeline:
        """This one where "float32" is asked; for "bf16" one whose weights are cast once, here.

        "auto" is bf16 where the hardware has it. Raises UserError for another precision, and for
        float32 once the weights are cast.
        """
        dtype = compute_dtype(precision, self.device)
        if dtype == self.net.dtype and (not self.weaker or dtype == self.weaker.net.dtype):
            return self
        if dtype == torch.float32:
            raise UserError("the weights are in bf16 already: load the model again for float32")
        weaker = self.weaker.in_precision(precision) if self.weaker else None
        codec = self.codec
        codec = codec.in_precision(dtype) if isinstance(codec, Latents) else codec
        return replace(self, net=self.net.for_inference(dtype), codec=codec, weaker=weaker)

    def tiled(self, tile: int) -> Pipeline:
        """This one, decoding ``tile`` x ``tile`` latents at a time, as `Latents` has it.

        Raises UserError for a model of pixels, and for a tile that is too small.
        """
        if not isinstance(self.codec, Latents):
            raise UserError("this model makes pixels: there is nothing to decode by tiles")
        return replace(self, codec=replace(self.codec, tile=tile))

    def guided_by(self, weaker: Pipeline) -> Pipeline:
        """This one, guided away from a weaker model of the same pictures: autoguidance.

        Raises UserError for a model of other pictures, classes, latents or levels.
        """
        same = (self.shape, self.classes, self.codec.digest, len(self.schedule))
        theirs = (weaker.shape, weaker.classes, weaker.codec.digest, len(weaker.schedule))
        if same != theirs or not torch.equal(self.schedule.alpha, weaker.schedule.alpha):
            raise UserError(
                "the weaker model is of another shape, classes, codec or schedule: guide by one "
                "trained on the same data and schedule, smaller or for less long"
            )
        return replace(self, weaker=weaker)

    def denoiser(
        self,
        labels: Labels = None,
        guidance: Scale = 1.0,
        rescale: float = 0.0,
        clipping: str = "static",
    ) -> Denoiser:
        """What a sampler takes: ``denoise(x, level) -> x0_hat``, guided, then clipped.

        ``labels`` are (B,) integers 0..K-1 for a batch of B; None is the null class. ``guidance`` 1
        is plain conditional, 0 unconditional (or the weaker model); it may be a function of the
        level. ``rescale`` is `guide`'s; ``clipping`` none, static (to [-1, 1]) or dynamic. Raises
        UserError for labels or a rescale out of range, an unknown clipping, and for guidance or
        labels that the network cannot follow.
        """
        cond = self._labels(labels)
        plain = self._denoiser(cond)
        if self.weaker:
            guided = guide(plain, self.weaker.denoiser(labels, clipping="none"), guidance, rescale)
        elif cond is not None:
            pair = torch.cat([cond, torch.full_like(cond, len(self.classes))])
            both = doubled(self._denoiser(pair))
            guided = guide(plain, self._denoiser(None), guidance, rescale, both)
        elif guidance == 1 or (self.classes and guidance == 0):
            guided = plain
        elif self.classes:
            raise UserError("guidance needs labels to guide to")
        else:
            raise UserError("this model is unconditional: guidance needs a model with classes")
        return CLIPPINGS[clipping](guided)

    def _denoiser(self, labels: Tensor | None) -> Denoiser:
        return prediction.denoiser(self._split[0], self.prediction, labels)

    @cached_property
    def _split(self) -> tuple[Net, Callable[[Tensor, Level], Tensor] | None]:
        """The network that predicts, and the learned variance of its last call."""
        return split_variance(self.net) if self.learned_variance else (self.net, None)

    def sample(
        self,
        n: int,
        labels: Labels = None,
        *,
        seed: int = 0,
        first: int = 0,
        batch: int = 64,
        on_step: Callable[[int, int], None] | None = None,
        on_images: Callable[[int, Tensor], None] | None = None,
        **settings: Any,
    ) -> Tensor:
        """Make n pictures: uint8, (n, C, H, W), those with the numbers from ``first`` on.

        ``labels``: one class for all, or n of them, by number or by name; None is every class in
        turn. Picture i follows from (seed, i) alone; ``batch`` is how many are made at once and
        changes nothing but memory and time, floating-point rounding aside. ``on_step(done, all)``
        follows the denoiser calls, ``on_images(i, images)`` each batch, the first of it the i-th of
        this request.
        ``settings`` are SampleConfig's fields (sampler, steps, spacing, guidance, eta ...) where
        they shall differ from ``defaults``; ``nfe``, a budget of denoiser calls a picture, may
        stand in the place of ``steps``. Raises UserError for what cannot be done.
        """
        if n < 1 or batch < 1:
            raise UserError(f"n is {n} and batch {batch}: ask for at least one picture")
        for name, number in (("seed", seed), ("first", first)):
            if number < 0:
                raise UserError(f"{name} is {number}: choose 0 or more")
        how = self._fitting(chosen(self.defaults, settings))
        sampler, options = SAMPLERS[how.sampler], self._options(how)
        grid = self.grid(how)
        scale = along(grid, *how.guided())
        every = self._labels(self.labels(n, labels, first))
        calls = how.calls * -(-n // batch)
        self.net.compile_for(calls)
        pictures: list[Tensor] = []
        made = 0

        with torch.inference_mode():
            for start in range(0, n, batch):
                part = range(start, min(start + batch, n))
                cond = None if every is None else every[part.start : part.stop]
                guided = self.denoiser(cond, scale, how.rescale, how.clipping)

                def denoise(x: Tensor, level: Level, guided: Denoiser = guided) -> Tensor:
                    nonlocal made
                    x0 = guided(x, level)
                    made += 1
                    if on_step:
                        on_step(made, calls)
                    return x0

                randn = noise(seed, range(first + part.start, first + part.stop))
                x = randn(torch.empty(len(part), *self.shape, device=self.device))
                x = sampler(denoise, x, grid, randn=randn, **options)
                pictures.append(self.codec.decode(x).cpu())
                if on_images:
                    on_images(start, pictures[-1])
        return torch.cat(pictures)

    def grid(self, how: SampleConfig) -> list[Level]:
        """The levels that such sampling visits."""
        how = self.settled(how)
        return self.schedule.grid(how.steps, how.spacing, how.knots)

    def settled(self, how: SampleConfig) -> SampleConfig:
        """The same, an optimised grid as knots: measured once, on two batches of 64, and kept."""
        if how.spacing != "optimised":
            return how
        order = min(SAMPLERS[how.sampler].order, 2)
        told = json.dumps([self.digest, how.steps, order, *how.guided(), how.rescale, how.clipping])
        name = hashlib.sha256(told.encode()).hexdigest()[:16]

        def measure() -> list[float]:
            scale = along(path(self.schedule, how.steps), *how.guided())
            denoise = self.denoiser(self.labels(64), scale, how.rescale, how.clipping)
            empty = torch.empty(64, *self.shape, device=self.device)
            batches = [noise(0, range(first, first + 64))(empty) for first in (0, 64)]
            with torch.inference_mode():
                return optimised(denoise, batches, self.schedule, how.steps, order)

        file = (self.home or Path()) / "grids" / f"{name}.json"
        if not (self.home and (file.exists() or os.access(self.home, os.W_OK))):
            file = cache_folder("grids") / file.name
        knots = remembered(file, measure)
        return replace(how, spacing="knots", knots=tuple(knots))

    @property
    def digest(self) -> str:
        """SHA-256 of the weights, as they are computed with, the levels and the codec."""
        digest = hashlib.sha256(self.net.digest.encode())
        digest.update(self.schedule.alpha.numpy().tobytes())
        digest.update(self.codec.digest.encode())
        if self.weaker:
            digest.update(self.weaker.digest.encode())
        return digest.hexdigest()

    def _options(self, how: SampleConfig) -> dict[str, Any]:
        """What the sampler is given, the learned variance as the function that it is."""
        options = how.keywords()
        if options.get("variance") == "learned":
            options["variance"] = self._split[1]
            if not self.learned_variance:
                raise UserError("this model has not learned a variance: choose small or large")
            if self.weaker and not how.guidance:
                raise UserError(
                    "guidance 0 asks the weaker model alone, and the variance is learned by the "
                    "other: choose the variance small or large, or another guidance"
                )
        return options

    def compile_for(self, batches: int, how: SampleConfig) -> bool:
        """Compile the network if so many batches pay for it; returns whether that was begun."""
        return self.net.compile_for(batches * how.calls)

    def check(self) -> None:
        """Raises UserError where ``defaults`` ask for what this model can never do."""
        how = self._fitting(self.defaults)
        self._options(how)
        late = how.spacing == "optimised"
        along(path(self.schedule, how.steps) if late else self.grid(how), *how.guided())

    def labels(self, n: int, labels: Labels = None, first: int = 0) -> list[int] | None:
        """The labels of n pictures: one for all, or n given, or for None every class in turn."""
        if labels is None:
            turn = range(first, first + n)
            return [i % len(self.classes) for i in turn] if self.classes else None
        given = self._given(labels).tolist()
        every: list[int] = given if isinstance(given, list) else [given] * n
        if len(every) != n:
            raise UserError(f"{len(every)} labels for {n} pictures: give one for all, or {n}")
        return every

    def _given(self, labels: int | str | Sequence[int | str] | Tensor) -> Tensor:
        if not self.classes:
            raise UserError("this model is unconditional: leave labels out")
        return integers(labels, self.classes)

    def _labels(self, labels: Labels) -> Tensor | None:
        if labels is None:
            return None
        given = self._given(labels)
        if given.ndim != 1:
            raise UserError("labels must be a list, one integer a picture")
        if bad := [i for i in given.tolist() if not 0 <= i < len(self.classes)]:
            last = len(self.classes) - 1
            raise UserError(f"there is no class {bad[0]}: labels are 0 to {last}")
        return given.to(self.device, torch.int64)

    def _fitting(self, how: SampleConfig) -> SampleConfig:
        if isinstance(self.codec, Latents) and how.clipping != "none":
            raise UserError("latents have no bounds to clip to: choose the clipping none")
        return how
