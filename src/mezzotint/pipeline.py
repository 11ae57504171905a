"""A finished model that makes pictures."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import Tensor

from mezzotint import experiment
from mezzotint.codec import Pixels
from mezzotint.errors import UserError
from mezzotint.experiment import SampleConfig, compute_dtype
from mezzotint.guidance import clip, guide_pair
from mezzotint.interop import diffusers
from mezzotint.nets import UNet, UNetConfig
from mezzotint.noise import Schedule
from mezzotint.predict import Denoiser, denoiser
from mezzotint.samplers import SAMPLERS
from mezzotint.samplers.step import Noise
from mezzotint.training import checkpoint

Labels: TypeAlias = int | Sequence[int] | Tensor | None


@dataclass(frozen=True, eq=False)
class Pipeline:
    """A network, the schedule it was trained on, and how pictures are made of the two.

    ``net(x, t, labels)`` is the raw network: x (B, C, H, W), t (B,), labels (B,) or None.
    """

    net: UNet
    schedule: Schedule
    prediction: str
    shape: tuple[int, int, int]  # of one picture as the network sees it: C, H, W
    classes: tuple[str, ...] = ()  # names; none for an unconditional network
    defaults: SampleConfig = field(default_factory=SampleConfig)
    codec: Pixels = field(default_factory=Pixels)
    colour: dict[str, list[float]] | None = None  # mean and std of the training set's channels
    data: str | None = None  # fingerprint of the training set

    @property
    def device(self) -> torch.device:
        return next(self.net.parameters()).device

    def in_precision(self, precision: str) -> Pipeline:
        """This one where "float32" is asked; for "bf16" one whose weights are cast once, here.

        "auto" is bf16 where the hardware has it. Raises UserError for another precision, and for
        float32 once the weights are cast.
        """
        dtype = compute_dtype(precision, self.device)
        if dtype == self.net.dtype:
            return self
        if dtype == torch.float32:
            raise UserError("the weights are in bf16 already: load the model again for float32")
        return replace(self, net=self.net.for_inference(dtype))

    def denoiser(self, labels: Labels = None, guidance: float = 1.0) -> Denoiser:
        """What a sampler takes: ``denoise(x, level) -> x0_hat``, guided, then clipped to [-1, 1].

        ``labels`` are (B,) integers 0..K-1 for a batch of B; None is the null class. ``guidance`` 1
        is plain conditional, 0 unconditional. Raises UserError for labels out of range, and for
        guidance or labels that the network cannot follow.
        """
        if not self.classes and guidance != 1:
            raise UserError("this model is unconditional: guidance needs a model with classes")
        if labels is None and guidance not in (0, 1):
            raise UserError("guidance needs labels to guide to")
        cond = self._labels(labels)
        if cond is None or guidance == 0:
            return clip(denoiser(self.net, self.prediction))
        if guidance == 1:
            return clip(denoiser(self.net, self.prediction, cond))
        pair = torch.cat([cond, torch.full_like(cond, len(self.classes))])
        return clip(guide_pair(denoiser(self.net, self.prediction, pair), guidance))

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

        ``labels``: one class for all, or n of them; None is every class in turn. Picture i follows
        from (seed, i) alone; ``batch`` is how many are made at once and changes nothing but memory
        and time, floating-point rounding aside. ``on_step(done, all)`` follows the denoiser calls,
        ``on_images(i, images)`` each batch, the first of it the i-th of this request.
        ``settings`` are SampleConfig's fields (sampler, steps, spacing, guidance, eta, variance)
        where they shall differ from ``defaults``. Raises UserError for what cannot be done.
        """
        if n < 1 or batch < 1:
            raise UserError(f"n is {n} and batch {batch}: ask for at least one picture")
        for name, number in (("seed", seed), ("first", first)):
            if number < 0:
                raise UserError(f"{name} is {number}: choose 0 or more")
        how = self._settings(settings)
        grid = self.schedule.grid(how.steps, how.spacing)
        every = self._labels(self.labels(n, labels, first))
        calls = (len(grid) - 1) * -(-n // batch)
        self.net.compile_for(calls, "reduce-overhead")
        pictures: list[Tensor] = []
        made = 0

        with torch.inference_mode():
            for start in range(0, n, batch):
                part = range(start, min(start + batch, n))
                cond = None if every is None else every[part.start : part.stop]
                guided = self.denoiser(cond, how.guidance)

                def denoise(x: Tensor, level: Any, guided: Denoiser = guided) -> Tensor:
                    nonlocal made
                    x0 = guided(x, level)
                    made += 1
                    if on_step:
                        on_step(made, calls)
                    return x0

                randn = noise(seed, range(first + part.start, first + part.stop))
                x = randn(torch.empty(len(part), *self.shape, device=self.device))
                x = SAMPLERS[how.sampler](denoise, x, grid, randn=randn, **how.options())
                pictures.append(self.codec.decode(x).cpu())
                if on_images:
                    on_images(start, pictures[-1])
        return torch.cat(pictures)

    def labels(self, n: int, labels: Labels = None, first: int = 0) -> list[int] | None:
        """The labels of n pictures: one for all, or n given, or for None every class in turn."""
        if labels is None:
            turn = range(first, first + n)
            return [i % len(self.classes) for i in turn] if self.classes else None
        given = _integers(labels).tolist()
        every: list[int] = given if isinstance(given, list) else [given] * n
        if len(every) != n:
            raise UserError(f"{len(every)} labels for {n} pictures: give one for all, or {n}")
        return every

    def _labels(self, labels: Labels) -> Tensor | None:
        if labels is None:
            return None
        if not self.classes:
            raise UserError("this model is unconditional: leave labels out")
        given = _integers(labels)
        if given.ndim != 1:
            raise UserError("labels must be a list, one integer a picture")
        if bad := [i for i in given.tolist() if not 0 <= i < len(self.classes)]:
            last = len(self.classes) - 1
            raise UserError(f"there is no class {bad[0]}: labels are 0 to {last}")
        return given.to(self.device, torch.int64)

    def _settings(self, changed: dict[str, Any]) -> SampleConfig:
        names = list(SampleConfig.__dataclass_fields__)
        if bad := [name for name in changed if name not in names]:
            raise UserError(f"unknown setting {bad[0]!r}{experiment.nearest(bad[0], names)}")
        try:
            return replace(self.defaults, **{k: v for k, v in changed.items() if v is not None})
        except ValidationError as error:
            raise UserError(experiment.first_problem(error)) from None


def _integers(labels: int | Sequence[int] | Tensor) -> Tensor:
    try:
        given = torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError):
        raise UserError(f"labels are integers from 0, not {labels!r}") from None
    if given.is_floating_point() or given.dtype == torch.bool:
        raise UserError(f"labels are integers from 0, not {given.dtype}")
    return given


def noise(seed: int, pictures: Sequence[int]) -> Noise:
    """``randn(x)`` whose row for picture i is drawn from a generator of (seed, i) alone.

    numpy's generators, whatever x's device: every machine starts from the same noise, and the seed
    is not cut to the 32 bits that torch's generator takes on a CPU.
    """
    generators = [np.random.default_rng((seed, i)) for i in pictures]

    def randn(x: Tensor) -> Tensor:
        rows = [g.standard_normal(x.shape[1:], dtype=np.float32) for g in generators]
        return torch.from_numpy(np.stack(rows)).to(x)

    return randn


def is_model(path: Path) -> bool:
    """Whether a path is something that `load` may make sense of."""
    marks = (checkpoint.MANIFEST, "checkpoints", "model_index.json", "config.json")
    return any((path / mark).exists() for mark in marks)


def load(
    path: str | Path, device: str | torch.device | None = None, precision: str = "float32"
) -> Pipeline:
    """Load a run (its newest whole checkpoint), a checkpoint folder, or a diffusers folder.

    ``device``: a GPU where there is one, else the CPU. ``precision``: "float32", "bf16"
    or "auto" (bf16 where the hardware has it). Every file of a checkpoint is checked against its
    SHA-256. Raises UserError for a folder that is none of these, or damaged.
    """
    folder = Path(path)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    compute_dtype(precision, device)  # refused before anything is read
    if not folder.is_dir():
        raise UserError(
            f"there is no folder {folder}: give a run, a checkpoint or a model's folder"
        )
    if (folder / checkpoint.MANIFEST).exists():
        checkpoint.verify(folder)
        return _from_checkpoint(folder, device).in_precision(precision)
    if (folder / "checkpoints").is_dir():
        experiment.read(folder / "config.json")  # a run from the future is not to be guessed at
        newest = checkpoint.newest(folder / "checkpoints", warnings.warn)
        if newest is not None:
            return _from_checkpoint(newest, device).in_precision(precision)
    if (folder / "model_index.json").exists() or diffusers.is_unet(folder):
        return _from_diffusers(folder, device).in_precision(precision)
    if (folder / "config.json").exists():
        raise UserError(f"{folder} has no checkpoint yet: train it on with --resume")
    raise UserError(f"{folder} is no run, checkpoint or diffusers folder")


def _from_checkpoint(folder: Path, device: torch.device) -> Pipeline:
    config = experiment.read(folder / "config.json")
    facts = json.loads((folder / "state.json").read_text())
    channels, height, width = facts["shape"]
    net = UNet(config.net, channels, len(facts["classes"]))
    net.load_state_dict(load_file(folder / "ema.safetensors"))
    return Pipeline(
        net=net.to(device).eval(),
        schedule=config.noise.build(),
        prediction=config.noise.prediction,
        shape=(channels, height, width),
        classes=tuple(facts["classes"]),
        defaults=config.sampling(facts["classes"]),
        colour=facts["colour"],
        data=facts["data"],
    )


def _from_diffusers(folder: Path, device: torch.device) -> Pipeline:
    config, scheduler, weights = diffusers.read(folder)
    try:
        fields, channels, classes = diffusers.unet_settings(config)
        net = UNet(UNetConfig(**fields), channels, classes)
        ours = diffusers.unet_weights(weights)
        if wrong := set(ours) ^ set(net.state_dict()):
            raise UserError(f"{folder}: missing or extra weights: {', '.join(sorted(wrong))}")
        net.load_state_dict(ours)
        schedule, prediction = diffusers.schedule(scheduler)
    except (KeyError, TypeError, RuntimeError, ValidationError) as error:
        raise UserError(f"{folder} is no UNet2DModel that can be read: {error}") from None
    if classes:
        told = f"{folder}: taken as {classes} classes and, in the last row, the null class"
        warnings.warn(told, stacklevel=3)
    size = config.get("sample_size") or 32
    height, width = (size, size) if isinstance(size, int) else size
    names = tuple(str(i) for i in range(classes))
    return Pipeline(net.to(device).eval(), schedule, prediction, (channels, height, width), names)
