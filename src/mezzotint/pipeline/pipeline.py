"""A finished model that makes images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mezzotint.config.sampling import SampleConfig, chosen
from mezzotint.diffusion import prediction
from mezzotint.diffusion.guidance import CLIPPINGS, Scale, along, doubled, guide
from mezzotint.diffusion.level import Level, Schedule
from mezzotint.diffusion.optimised_grid import path
from mezzotint.diffusion.prediction import Denoiser, Net, split_variance
from mezzotint.errors import UserError
from mezzotint.networks import Network
from mezzotint.networks.precision import compute_dtype
from mezzotint.pipeline import grids, labelling, own, sampling, saved, summary
from mezzotint.pipeline.codec import Codec, Latents, Pixels
from mezzotint.pipeline.labels import Labels


@dataclass(frozen=True, eq=False, repr=False)
class Pipeline:
    """A network, the schedule it was trained on, and how images are made with the two.

    ```python
    pipe = mz.Pipeline(my_module, mz.cosine(1000), "v", (3, 32, 32), classes=("cat", "dog"))
    images = pipe.sample(16, labels="dog", steps=50, guidance=2.0, seed=0)
    ```

    Attributes:
        net: the raw network, ``net(x, t, labels) -> output``: x (B, C, H, W), t (B,) float from 0
            to T - 1, labels (B,) int64 of 0 to K, K being the null class, or None. Any nn.Module or
            function of these three can be given. A module is copied, in evaluation mode, and its
            weights ask for no gradient; a function is called with tensors on the CPU.
        schedule: the levels it was trained on.
        prediction: what it predicts: eps, x0, v ... (`PREDICTIONS`).
        shape: of one image as the network sees it: (C, H, W).
        classes: their K names; () for an unconditional network.
        defaults: how `sample` makes images where it is not told otherwise.
        codec: what turns images into what the network sees, and back: pixels, or latents.
        colour: mean and standard deviation of the training set's channels, where known.
        data: fingerprint of the training set, where known.
        home: the folder it was loaded from, where optimised grids are kept.
        learned_variance: whether the network returns 2C channels, the second half of them the
            variance of DDPM's steps.
        weaker: a model that guides in the place of the unconditional network.
        origin: settings, and in words where they come from: a recipe, a sweep.

    Raises:
        UserError: an argument of a wrong type; a network that does not take (x, t, labels), or
            whose output has another shape.
    """

    net: Any  # a Network once the pipeline is made
    schedule: Schedule
    prediction: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...] = ()
    defaults: SampleConfig = field(default_factory=SampleConfig)
    codec: Codec = field(default_factory=Pixels)
    colour: dict[str, list[float]] | None = None
    data: str | None = None
    home: Path | None = None
    learned_variance: bool = False
    weaker: Pipeline | None = None
    origin: tuple[SampleConfig, str] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.net, Network):
            for name, value in own.accepted(self).items():
                object.__setattr__(self, name, value)  # as dataclasses themselves do

    @property
    def defaults_from(self) -> str:
        """Where ``defaults`` come from, in words."""
        if self.origin and self.origin[0] == self.defaults:
            return self.origin[1]
        return "mezzotint's own" if self.defaults == SampleConfig() else "chosen by the caller"

    def __repr__(self) -> str:
        return summary.of(self)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images."""
        return self.codec.picture_shape(self.shape)[1:]

    @property
    def device(self) -> torch.device:
        device: torch.device = self.net.device
        return device

    def in_precision(self, precision: str) -> Pipeline:
        """Return this pipeline in a precision, its weights cast once, here.

        Args:
            precision: "float32", "bf16", or "auto": bf16 where the hardware has it.

        Raises:
            UserError: another precision, or float32 when the weights are in bf16 already.
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
        """Return this pipeline, decoding ``tile`` x ``tile`` latents at a time to save memory.

        Raises:
            UserError: the model is one of pixels, or the tile is too small.
        """
        if not isinstance(self.codec, Latents):
            raise UserError("this model makes pixels: there is nothing to decode by tiles")
        return replace(self, codec=replace(self.codec, tile=tile))

    def guided_by(self, weaker: Pipeline) -> Pipeline:
        """Return this pipeline, guided away from a weaker model (autoguidance).

        Karras et al. 2024, arXiv 2406.02507.

        Raises:
            UserError: the weaker model is of another shape, or of other classes, latents or levels.
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
        """Return what a sampler takes: ``denoise(x, level) -> x0_hat``, guided, then clipped.

        Args:
            labels: (B,) integers 0 to K - 1, or names, for a batch of B; None is the null class.
            guidance: the scale: 1 is plain conditional, 0 unconditional (or the weaker model). It
                may be a function of the level.
            rescale: how far guided images are brought back to the contrast of unguided ones, from
                0 to 1.
            clipping: "none", "static" (to [-1, 1]) or "dynamic" (to quantiles).

        Raises:
            UserError: a label or a rescale is out of range, there is no such clipping, or the
                network cannot follow the labels or the guidance.
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
        """Make images.

        Image i depends on (seed, i) alone. The settings that are not given are ``defaults``; those
        of a swept run are what the sweep recommends.

        Args:
            n: how many.
            labels: one class for all, or n of them, by number or by name; None is every class in
                turn.
            seed: all randomness follows from it, 0 or more.
            first: the number of the first image; they are ``first`` to ``first + n - 1``.
            batch: how many are made at once. It changes nothing but memory and time, apart from
                floating-point rounding.
            on_step: ``on_step(done, all)`` is called after each denoiser call.
            on_images: ``on_images(i, images)`` is called after each batch, whose first image is the
                i-th of this request.
            **settings: fields of SampleConfig (sampler, steps, spacing, guidance, eta ...) that
                shall differ from ``defaults``. ``nfe``, a budget of denoiser calls for each image,
                may replace ``steps``.

        Returns:
            uint8 (n, C, H, W), on the CPU.

        Raises:
            UserError: a setting or a label that there is none of, or that this model cannot follow.
        """
        how = chosen(self.defaults, settings)
        request = sampling.Request(n, labels, seed, first, batch)
        return sampling.sample(self, how, request, on_step, on_images)

    def grid(self, how: SampleConfig) -> list[Level]:
        """The levels that such sampling visits."""
        how = self.settled(how)
        return self.schedule.grid(how.steps, how.spacing, how.knots)

    def settled(self, how: SampleConfig) -> SampleConfig:
        """The same settings, with the knots of an optimised grid: measured once, and kept."""
        return grids.settled(self, how)

    def save(self, folder: str | PathLike[str]) -> Path:
        """Write the model to a folder, from which `load` reads it back to the bit.

        A network of the user's own is saved by its weights, and passed to `load` again. A folder
        that holds a saved model already is replaced.

        Raises:
            UserError: the folder holds anything else; the weights are in bf16; or the model is
                guided by a weaker one.
        """
        return saved.save(self, Path(folder))

    @property
    def digest(self) -> str:
        """SHA-256 of the weights, as they are computed with, the levels and the codec."""
        digest = hashlib.sha256(self.net.digest.encode())
        digest.update(self.schedule.alpha.numpy().tobytes())
        digest.update(self.codec.digest.encode())
        if self.weaker:
            digest.update(self.weaker.digest.encode())
        return digest.hexdigest()

    def compile_for(self, batches: int, how: SampleConfig) -> bool:
        """Compile the network if so many batches pay for it; returns whether that was begun."""
        return bool(self.net.compile_for(batches * how.calls))

    def check(self) -> None:
        """Raises UserError where ``defaults`` ask for what this model can never do."""
        how = self.defaults
        sampling.options(self, how)
        late = how.spacing == "optimised"
        along(path(self.schedule, how.steps) if late else self.grid(how), *how.guided())

    def labels(self, n: int, labels: Labels = None, first: int = 0) -> list[int] | None:
        """The labels of n images: one for all, or n given, or for None every class in turn."""
        return labelling.of_images(n, labels, self.classes, first)

    def _labels(self, labels: Labels) -> Tensor | None:
        found = labelling.indices(labels, self.classes)
        return None if found is None else found.to(self.device)
