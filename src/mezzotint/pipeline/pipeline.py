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
from mezzotint.data.values import Values
from mezzotint.devices import sent
from mezzotint.diffusion import prediction
from mezzotint.diffusion.guidance import CLIPPINGS, Scale, along, doubled, guide
from mezzotint.diffusion.level import Level, Schedule
from mezzotint.diffusion.optimised_grid import path
from mezzotint.diffusion.prediction import Denoiser, Net, split_variance
from mezzotint.errors import UserError
from mezzotint.networks.conditions import Condition, Given, Labels, every
from mezzotint.networks.precision import compute_dtype, named
from mezzotint.pipeline import (
    conditioning,
    exporting,
    few_step,
    grids,
    inverting,
    own,
    restoring,
    sampling,
    saved,
    summary,
    variation,
)
from mezzotint.pipeline.codec import Codec, Latents, Pixels
from mezzotint.pipeline.few_step import FewStep


@dataclass(frozen=True, eq=False, repr=False)
class Pipeline:
    """A finished model: a network, the schedule it was trained on, and settings for sampling.

    ```python
    pipe = mz.Pipeline(my_module, mz.cosine(1000), "v", (3, 32, 32), classes=("cat", "dog"))
    images = pipe.sample(16, labels="dog", steps=50, guidance=2.0, seed=0)
    ```

    Attributes:
        net: The raw network, ``net(x, t, condition) -> output``: x (B, C, H, W); t (B,) float from
            0 to T - 1 for a schedule of T levels; condition is None, a tensor for a model with one
            condition, or a dict of tensors. Classes are (B,) int64 from 0 to K - 1, and K for the
            null class. Any nn.Module or function with these arguments can be used. A module is
            copied; the copy is in evaluation mode, and its weights require no gradient. A function
            gets tensors on the CPU.
        schedule: The levels that the network was trained on.
        prediction: The prediction type of the network: eps, x0, v ... (`PREDICTIONS`).
        shape: The shape (C, H, W) of the network's input for one image.
        classes: The names of the K classes; () for a network without classes.
        conditions: The conditions besides the class: NumbersCondition, TagsCondition,
            ImageCondition.
        defaults: The default settings of `sample`.
        codec: The conversion of images to the network's input and back: Pixels or Latents.
        colour: The mean and standard deviation of the training set's channels, if known.
        data: The fingerprint of the training set, if known.
        home: The folder from which the model was loaded. Optimised grids are kept in it.
        learned_variance: Whether the network returns 2C channels; the second half then determines
            the variance of DDPM's steps (see `split_variance`).
        weaker: A weaker model. If it is given, guidance leads away from the estimate of the weaker
            model, instead of the unconditional estimate.
        origin: The ``defaults`` with which the model was loaded, and a description of their source:
            a recipe, a sweep ...
        few_step: The settings for which a few-step model was distilled; None for any other model.
        examples: The conditions of some training images, by name, in the form of the network's
            input; `sample` uses them in turn if it gets no condition.
        original: The model in float32 from which `in_precision` made this model; None for any other
            model.

    Raises:
        UserError: If an argument has a wrong type, or the network does not take (x, t, condition)
            or its output has a wrong shape.
    """

    net: Any  # a Network after __post_init__
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
    few_step: FewStep | None = None
    conditions: tuple[Condition, ...] = ()
    examples: Given = field(default_factory=dict)
    original: Pipeline | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name, value in (own.accepted(self) | own.fitting(self)).items():
            object.__setattr__(self, name, value)  # the dataclass is frozen

    @property
    def defaults_from(self) -> str:
        """A description of the origin of ``defaults``."""
        if self.origin and self.origin[0] == self.defaults:
            return self.origin[1]
        return "mezzotint's own" if self.defaults == SampleConfig() else "chosen by the caller"

    def __repr__(self) -> str:
        return summary.of(self)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images."""
        return self.codec.image_shape(self.shape)[1:]

    @cached_property
    def every(self) -> tuple[Condition, ...]:
        """All conditions of the network: the class, if there are classes, and ``conditions``."""
        return every(self.classes, self.conditions)

    @property
    def values(self) -> Values:
        """The type of the images' values, and their range."""
        return self.codec.values

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        device: torch.device = self.net.device
        return device

    def in_precision(self, precision: str) -> Pipeline:
        """Return this pipeline in another precision, with converted weights.

        The weights in float32 are kept, so a conversion back to float32 loses nothing.

        Args:
            precision: "float32", "bf16", or "auto": bf16 on hardware that computes in bf16, else
                float32.

        Returns:
            A pipeline that shares everything except the weights with this pipeline.

        Raises:
            UserError: If there is no such precision, or if float32 is requested for weights that
                were never in float32, or were changed in bf16.
        """
        dtype = compute_dtype(precision, self.device)
        if dtype == self.net.dtype and (not self.weaker or dtype == self.weaker.net.dtype):
            return self
        weaker = self.weaker.in_precision(precision) if self.weaker else None
        codec = self.codec
        if dtype == torch.float32:
            if self.original is None or not self._is_rounded(self.original):
                raise UserError(
                    "only a bf16 copy of this model's weights is in memory: load it again with "
                    '`precision="float32"`'
                )
            if isinstance(codec, Latents) and isinstance(self.original.codec, Latents):
                codec = replace(codec, vae=self.original.codec.vae)
            return replace(self, net=self.original.net, codec=codec, weaker=weaker, original=None)
        codec = codec.in_precision(dtype) if isinstance(codec, Latents) else codec
        net = self.net.for_inference(dtype)
        return replace(self, net=net, codec=codec, weaker=weaker, original=self)

    def _is_rounded(self, original: Pipeline) -> bool:
        """Return whether the weights are the weights of ``original``, cast to other types."""
        pairs = [(self.net, original.net)]
        if isinstance(self.codec, Latents) and isinstance(original.codec, Latents):
            pairs.append((self.codec.vae, original.codec.vae))
        return all(mine.rounds(theirs) for mine, theirs in pairs)

    def tiled(self, tile: int) -> Pipeline:
        """Return a pipeline that decodes ``tile`` x ``tile`` latents at a time, to save memory.

        Args:
            tile: The height and width of a tile, in latent pixels, 8 or more; 0 decodes images
                whole.

        Returns:
            The pipeline with that setting.

        Raises:
            UserError: If the model works on pixels, or the tile is too small.
        """
        if not isinstance(self.codec, Latents):
            raise UserError("this model works on pixels, so it decodes nothing: leave out `tile`")
        return replace(self, codec=replace(self.codec, tile=tile))

    def guided_by(self, weaker: Pipeline) -> Pipeline:
        """Return this pipeline with guidance away from a weaker model.

        This is autoguidance (Karras et al. 2024, arXiv 2406.02507).

        Args:
            weaker: A model with the same shape, conditions, codec and schedule, which is smaller or
                was trained for a shorter time.

        Returns:
            A pipeline whose ``guidance`` leads from the weaker model's estimate to this model's.
            The weaker model computes in the precision of this model.

        Raises:
            UserError: If the weaker model differs in shape, conditions, codec or schedule, or if
                one of the two is a few-step model.
        """
        weaker = weaker.in_precision(named(self.net.dtype))
        same = (self.shape, self.every, self.codec.digest, len(self.schedule))
        theirs = (weaker.shape, weaker.every, weaker.codec.digest, len(weaker.schedule))
        if same != theirs or not torch.equal(self.schedule.alpha, weaker.schedule.alpha):
            raise UserError(
                "the weaker model differs from this model in shape, condition, codec or schedule: "
                "give a model that was trained on the same data and schedule, but is smaller or "
                "was trained for a shorter time"
            )
        for model in (self, weaker):
            few_step.refuse(model, "guidance by a weaker model")
        return replace(self, weaker=weaker)

    def denoiser(
        self,
        labels: Labels = None,
        guidance: Scale = 1.0,
        rescale: float = 0.0,
        clipping: str | None = None,
        condition: Any = None,
    ) -> Denoiser:
        """Return the denoiser for a sampler: ``denoise(x, level) -> x0_hat``.

        The denoiser computes the network's estimate, guides it, and then clips it.

        Args:
            labels: (B,) integers from 0 to K - 1, or names, for a batch of B; None is the null
                class.
            guidance: The guidance scale, or a function of the level that returns it. 1 is the
                conditional estimate alone. 0 is the unconditional estimate alone or, in a pipeline
                that `guided_by` returned, the estimate of the weaker model alone.
            rescale: How far guided images return to the contrast of unguided images, 0 to 1.
            clipping: "none", "static" (to [-1, 1]) or "dynamic" (to quantiles). None is "none" for
                a latent model, whose x has no bounds, and "static" for a model of pixels.
            condition: The other conditions, as in `sample`, each for a batch of B; missing
                conditions are null.

        Returns:
            The denoiser.

        Raises:
            UserError: If a label or ``rescale`` is out of range, there is no such clipping, or the
                model does not support the clipping, the condition or the guidance.
        """
        clipping = clipping or ("none" if isinstance(self.codec, Latents) else "static")
        sampling.check_clipping(self, clipping)
        given = conditioning.of_batch(self, labels, condition)
        return self._guided(given, guidance, rescale, clipping)

    def _guided(
        self, given: Given | None, guidance: Scale, rescale: float, clipping: str
    ) -> Denoiser:
        """Return the denoiser for checked conditions; all are null if ``given`` is None."""
        if self.few_step and guidance != 1:
            raise few_step.guided(self.few_step)
        if self.few_step and self.every and given is None:
            name = "labels" if self.classes else "condition"
            raise UserError(f"this few-step model cannot sample without {name}: give `{name}`")
        cond = given and {name: sent(rows, self.device) for name, rows in given.items()}
        plain = self._denoiser(cond)
        if self.weaker:
            weaker = self.weaker._guided(given, 1.0, 0.0, "none")
            guided = guide(plain, weaker, guidance, rescale)
        elif cond is not None:
            count = len(next(iter(cond.values())))
            pair = {
                each.name: torch.cat([cond[each.name], each.null(count, self.device)])
                for each in self.every
            }
            both = doubled(self._denoiser(pair))
            guided = guide(plain, self._denoiser(None), guidance, rescale, both)
        elif guidance == 1 or (self.every and guidance == 0):
            guided = plain
        elif self.every:
            name = "labels" if self.classes else "condition"
            raise UserError(f"guidance needs {name}: give `{name}`, or a guidance of 0 or 1")
        else:
            raise UserError("this model is unconditional: leave out `guidance`, or set it to 1")
        return CLIPPINGS[clipping](guided)

    def _denoiser(self, condition: Given | None) -> Denoiser:
        """Return the denoiser without guidance and clipping."""
        return prediction.denoiser(self._split[0], self.prediction, condition)

    @cached_property
    def _split(self) -> tuple[Net, Callable[[Tensor, Level], Tensor] | None]:
        """Return the network without its variance output, and a function for that output.

        The function returns the learned variance that the most recent call predicted, as
        `split_variance` describes. The function is None if the network has not learned a variance.
        """
        return split_variance(self.net) if self.learned_variance else (self.net, None)

    def sample(
        self,
        n: int,
        labels: Labels = None,
        *,
        condition: Any = None,
        seed: int = 0,
        first: int = 0,
        batch: int = 64,
        noise: Tensor | None = None,
        on_step: Callable[[int, int], None] | None = None,
        on_images: Callable[[int, Tensor], None] | None = None,
        on_estimate: sampling.Estimate | None = None,
        **settings: Any,
    ) -> Tensor:
        """Make images.

        The noise of image i depends only on (seed, i). Settings that are not given are taken from
        ``defaults``, which can be the best settings of a sweep (see `load`).

        Args:
            n: The number of images to make.
            labels: One class for all images or n classes, by index or name. The class "n01443537
                goldfish" may also be given as "goldfish". If only ``condition`` is given, the class
                is null.
            condition: The other conditions: a dict from names to values (one value for all images
                or n values), or the value of the only condition. Numbers are in their original
                units; tags are a set of names, or a list of n sets; images are uint8 (C, H,
                W) or (n, C, H, W). Missing conditions are null. If neither ``labels`` nor
                ``condition`` is given, the conditions in ``pipe.examples`` are used in turn, or
                all classes in turn if it is empty.
            seed: The seed of all randomness, at least 0.
            first: The index of the first image; the images are ``first`` to ``first + n - 1``.
            batch: The number of images to make at once. It affects memory and time; the result
                changes by rounding only.
            noise: The noise from which sampling starts, float (n, C, H, W) in the shape of x, such
                as the result of `invert`; by default standard normal noise from the seed.
            on_step: ``on_step(done, total)`` is called after each denoiser call, with the number of
                calls made so far and the number of all calls.
            on_images: ``on_images(i, images)`` is called after each batch; i is the index of the
                batch's first image among the n images.
            on_estimate: ``on_estimate(i, level, x, x0_hat)`` is called after each denoiser call; i
                is the index of the batch's first image among the n images, x is the noisy batch at
                that level, and x0_hat is the estimate of the clean batch. x and x0_hat are float
                (B, C, H, W); ``codec.decode`` turns either into images.
            **settings: Fields of SampleConfig (sampler, steps, spacing, guidance, eta ...) to
                change from ``defaults``. ``nfe``, a budget of denoiser calls per image, can replace
                ``steps``.

        Returns:
            The images, (n, C, H, W), on the CPU, in the type and range of the training data: uint8
            from 0 to 255 unless ``pipe.values`` says otherwise.

        Raises:
            UserError: If a setting, a condition or a label does not exist, or if this model does
                not support it.
        """
        how = chosen(self.defaults, settings)
        request = sampling.SampleRequest(n, seed, first, batch, noise)
        given = self.given(n, labels, condition, first)
        return sampling.sample(self, how, request, given, on_step, on_images, on_estimate)

    invert, interpolate = inverting.invert, inverting.interpolate
    vary = variation.vary
    inpaint, outpaint = restoring.inpaint, restoring.outpaint
    enlarge, restore = restoring.enlarge, restoring.restore

    export = exporting.export

    def grid(self, how: SampleConfig) -> list[Level]:
        """Return the levels that sampling with these settings visits.

        Args:
            how: The settings.

        Returns:
            ``how.steps + 1`` levels from noisy to clean.
        """
        how = self.settled(how)
        return self.schedule.grid(how.steps, how.spacing, how.knots)

    def settled(self, how: SampleConfig) -> SampleConfig:
        """Return the settings, with the levels of the grid listed if the spacing is "optimised".

        These levels are computed once, and kept in the model's folder or in the cache.

        Args:
            how: The settings.

        Returns:
            The same settings. If the spacing was "optimised", it is now "knots", and the field
            ``knots`` lists the levels.
        """
        return grids.settled(self, how)

    def save(self, folder: str | PathLike[str]) -> Path:
        """Save the model to a folder, from which `load` restores it exactly.

        For a user's own network only the weights are saved, so pass the network to `load` again. A
        folder that already holds a saved model is replaced.

        Args:
            folder: The folder to write.

        Returns:
            The folder.

        Raises:
            UserError: If ``folder`` is a file or holds files that are not part of a saved model,
                the weights were never in float32 or were changed in bf16, the pipeline leaves out
                conditions of its network, or the model is guided by a weaker model.
        """
        return saved.save(self, Path(folder))

    @property
    def digest(self) -> str:
        """A SHA-256 of the weights in their current precision, the levels and the codec.

        It also covers the conditions besides the class, ``examples``, and the weaker model that
        `guided_by` adds.
        """
        digest = hashlib.sha256(self.net.digest.encode())
        digest.update(self.schedule.alpha.numpy().tobytes())
        digest.update(self.codec.digest.encode())
        for each in self.conditions:
            digest.update(str(each.facts()).encode())
        for name in sorted(self.examples):
            digest.update(self.examples[name].numpy().tobytes())
        if self.weaker:
            digest.update(f"{self.weaker.digest} {self.weaker.prediction}".encode())
        return digest.hexdigest()

    @property
    def identity(self) -> str:
        """A `digest` that does not depend on the precision.

        It is the `digest` of the model with float32 weights, or with bf16 weights if there are no
        float32 weights.
        """
        try:
            return self.in_precision("float32").digest
        except UserError:
            return self.digest

    def compile_for(self, batches: int, how: SampleConfig) -> bool:
        """Compile the network if sampling ``batches`` batches repays the time of the compilation.

        Args:
            batches: The number of batches to sample.
            how: The settings for sampling them.

        Returns:
            Whether the network was compiled.
        """
        return bool(self.net.compile_for(batches * how.calls))

    def check(self) -> None:
        """Check that this model supports its ``defaults``.

        Raises:
            UserError: If the model does not support them.
        """
        how = self.defaults
        sampling.options(self, how)
        late = how.spacing == "optimised"
        along(path(self.schedule, how.steps) if late else self.grid(how), *how.guided())

    def given(
        self, n: int, labels: Labels = None, condition: Any = None, first: int = 0
    ) -> Given | None:
        """Return the conditions of n images by name, in the form of the network's input.

        Args:
            n: The number of images.
            labels: The labels, as in `sample`.
            condition: The other conditions, as in `sample`.
            first: The index of the first image; it matters only if no conditions are given.

        Returns:
            Tensors (n, ...) on the CPU; None for an unconditional model.

        Raises:
            UserError: If a condition or a label does not exist, or the model does not support it.
        """
        return conditioning.of_images(self, n, labels, condition, first)

    def labels(self, n: int, labels: Labels = None, first: int = 0) -> list[int] | None:
        """Return the labels of n images.

        Args:
            n: The number of images.
            labels: One class for all images, or n classes. None takes the classes in
                ``pipe.examples`` in turn, or all classes in turn if it is empty.
            first: The index of the first image; it matters only if ``labels`` is None.

        Returns:
            n integers from 0 to K - 1, or K for the null class; None for a model without classes.

        Raises:
            UserError: If a label is not a class, or the number of labels is wrong.
        """
        return conditioning.labels_of(self, self.given(n, labels, first=first))
