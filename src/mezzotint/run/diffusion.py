"""The training of a diffusion model, in pixels or in latents; only the codec differs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from mezzotint.config.experiment import Experiment
from mezzotint.data import Prepared, flip, non_leaking, rows
from mezzotint.data.order import Rows
from mezzotint.devices import sent
from mezzotint.diffusion.level import VISIBLE, Schedule, signal
from mezzotint.diffusion.noise import noise
from mezzotint.drawing import figures
from mezzotint.drawing.colour import channel_statistics
from mezzotint.errors import UserError, warn
from mezzotint.evaluation.against import Against
from mezzotint.evaluation.measuring import Measure, measure, measure_samples
from mezzotint.evaluation.samples import Follow
from mezzotint.metrics import Figure
from mezzotint.metrics.networks import choose
from mezzotint.networks import Network
from mezzotint.networks.conditions import ClassCondition, Condition, ImageCondition, every
from mezzotint.networks.custom import Custom, check
from mezzotint.networks.precision import compute_dtype
from mezzotint.pipeline.codec import Latents
from mezzotint.pipeline.codecs import conditioned, conditions_of, described, tensors
from mezzotint.pipeline.conditioning import unlearned
from mezzotint.pipeline.few_step import made_for
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.processes import Share
from mezzotint.run import distilling, latents
from mezzotint.run.initial import freeze, scaled_as, take_weights
from mezzotint.run.job import Job, Tensors, begin, pixels
from mezzotint.trainer.distilling import Distillation
from mezzotint.trainer.distilling.config import DistillationConfig
from mezzotint.trainer.loop import Examples, Task
from mezzotint.trainer.objective import Diffusion

POSTERIOR = 2**63  # added to the seed for the noise of latents; samples have seeds below it
# A checkpoint keeps the conditions of some training images: limits on the images, and on the
# numbers in all their conditions.
EXAMPLES, NUMBERS = 1_024, 2**20


class DiffusionJob(Job):
    """The training of a diffusion model; see `Job`.

    Args:
        experiment: The configuration.
        device: The device of the training.
        found: The checkpoint to resume from; None starts a new training.
    """

    experiment: Experiment

    def __init__(self, experiment: Experiment, device: torch.device, found: Path | None) -> None:
        c, noise = experiment.data, experiment.noise
        self.experiment = experiment
        self.data = c.prepared()
        if c.conditional and not (self.data.classes or self.data.conditions):
            raise UserError(f"{c.data} has no classes: pass `conditional=False`")
        if experiment.evaluate_every and len(self.data) < 2:
            raise UserError(
                "`evaluate_every` needs 2 training images or more, but the data has 1: pass "
                "`evaluate_every=0`"
            )
        self.teacher = distilling.teacher_of(experiment, device)
        self.codec, self.latents = latents.encoded(
            experiment, self.data, device, self.teacher, found
        )
        height, width, channels = self.data.images.shape[1:]
        shape = self.codec.latent_shape((channels, height, width))
        if noise.learn_variance and not self.data.values.eight_bit:
            raise UserError(
                f"`learn_variance` needs 8-bit values, but the images are {self.data.values}: "
                "leave out `learn_variance`"
            )
        classes = self.data.classes if c.conditional else ()
        others = _fitted(self.data.conditions if c.conditional else (), shape, c.non_leaking)
        if others and (model := self.teacher or experiment.init):
            # A checkpoint has the scaled conditions already.
            before = conditions_of(found)["conditions"] if found else ()
            others = before or scaled_as(others, model)
        self.facts = {
            "shape": shape,
            "classes": classes,
            "data": self.data.fingerprint,
            "training_images": len(self.data),
            "colour": channel_statistics(self.data.some(10_000).images),
            "codec": described(self.codec),
            **self.codec.values.as_json(),
            **conditioned(others),
        }
        if self.teacher:
            distilling.check_data(self.teacher, shape, classes, others)
            self.facts["teacher"] = self.teacher.net.digest
        torch.manual_seed(experiment.train.seed)
        net = experiment.network(shape[0], len(classes), others)
        if isinstance(net, Custom):
            if not net.module.training:  # layers alone may be in evaluation mode intentionally
                net.train()
            check(net, shape, shape[0] * (1 + noise.learn_variance), training=True)
        anew: list[str] = []
        if experiment.init and not found:
            self.beginning, anew = take_weights(net, experiment, every(classes, others))
        if c.flip and any(not each.spatial for each in others):
            note = (
                "half of the images are mirrored, but their conditions are not: pass `flip=False` "
                "if conditions depend on left and right"
            )
            self.beginning = "; ".join(filter(None, [self.beginning, note]))
        if note := unlearned(experiment.objective, every(classes, others)):
            warn(note)
        schedule = noise.build()
        if not self.teacher and (note := shows_image(schedule, shape)):
            warn(note)
        freeze(net, experiment.freeze, anew)
        if self.teacher:
            distilling.check_model(self.teacher, noise, net)
            net.load_state_dict(self.teacher.net.state_dict())
        if not experiment.shard:  # the whole network may not fit on the device
            net.to(device)
        task = self.task(schedule.to(device), shape, every(classes, others))
        self.state = begin(experiment.train, net, task, compiles=not experiment.shard)
        if isinstance(task, Distillation):
            task.begin(self.state.ema.module)
        # Ready to sample, so that the pipeline keeps this very network and not a copy of it.
        average = cast(Network, self.state.ema.module.eval().requires_grad_(False))
        self.pipe = Pipeline(
            net=average,
            schedule=schedule,
            prediction=noise.prediction,
            shape=shape,
            classes=classes,
            defaults=experiment.sampling([*classes, *others]),
            codec=self.codec,
            learned_variance=noise.learn_variance,
            few_step=made_for(experiment.objective),
            conditions=others,
        )
        if others:
            self.pipe = replace(self.pipe, examples=self._conditions(_spread(self.data, others)))
        self.pipe.check()  # refuse impossible settings before the first grid

    def divide(self, device: torch.device) -> None:
        super().divide(device)
        if isinstance(self.state.task, Distillation):
            self.state.task.average = (self.state.ema.module,)

    def task(
        self, schedule: Schedule, shape: tuple[int, ...], conditions: Sequence[Condition]
    ) -> Task:
        """Return the training objective, with the schedule on the training's device."""
        objective, noise = self.experiment.objective, self.experiment.noise
        dtype = compute_dtype(self.experiment.precision, schedule.alpha.device)
        if isinstance(objective, DistillationConfig):
            assert self.teacher
            teacher = self.teacher.in_precision(self.experiment.precision)
            clipping, train = self.experiment.sample.clipping, self.experiment.train
            task: Task = distilling.task_of(objective, teacher, schedule, clipping, train, dtype)
        else:
            learned = noise.learn_variance
            how = (objective, schedule, noise.prediction, shape, conditions)
            small = round(objective.small_first * self.experiment.train.images)
            if small and (any(each.spatial for each in conditions) or shape[1] % 2 or shape[2] % 2):
                raise UserError(
                    "`small_first` cannot be used with images of odd height or width, or with an "
                    "image as a condition: leave out `small_first`"
                )
            task = Diffusion(*how, learned, dtype, small)
        return task.to(schedule.alpha.device)

    def batch(self, start: int, count: int, u: Tensor) -> Examples:
        index = rows(self.experiment.train.seed, start, count, len(self.data.images))
        mirrored = (u[:, -1] < 0.5) & self.experiment.data.flip
        condition = {k: sent(rows, u.device) for k, rows in self._conditions(index).items()}
        for each in self.pipe.conditions:
            if each.spatial:
                condition[each.name] = flip(condition[each.name], mirrored)
        if self.latents:
            mean, std = self.latents.rows(index, mirrored)
            fresh = None
            if self.experiment.codec.posterior == "sample":
                seed = POSTERIOR + self.experiment.train.seed
                fresh = noise(seed, range(start, start + count))(mean)
            return Examples(cast(Latents, self.codec).sample(mean, std, fresh), condition)
        x0, numbers = pixels(self.data, index, mirrored), None
        if probability := self.experiment.data.non_leaking:
            x0, numbers = non_leaking(x0, u, probability)
        return Examples(x0, condition, numbers)

    def _conditions(self, index: Rows) -> dict[str, Tensor]:
        """Return the conditions of the images at ``index``, by name, as the network takes them."""
        return {
            each.name: each.encoded(
                self.data.labels[index]
                if isinstance(each, ClassCondition)
                else self.data.condition[each.name][index]
            )
            for each in self.pipe.every
        }

    def finished(self) -> tuple[dict[str, Any], Tensors]:
        return self.facts, tensors(self.codec, self.pipe.examples)

    def sheet(self, follow: Callable[[int, int], None]) -> Image:
        """Draw 8 samples of each of up to ten classes, or 64 samples of a model without classes.

        For a model with conditions besides the class, draw 64 samples with the conditions of
        training images instead.
        """
        classes = () if self.pipe.conditions else self.pipe.classes
        labels = [k for k in range(min(len(classes), 10)) for _ in range(8)] or None
        images = self._ready().sample(len(labels) if labels else 64, labels, on_step=follow)
        return figures.grid(self.pipe.values.visible(images), labels, classes)

    def _ready(self) -> Pipeline:
        """Return the model with the averaged weights, in the precision of the training."""
        pipe = self.pipe
        if pipe.device != self.device:  # divided weights are put together on another device
            pipe = replace(pipe, net=copy.deepcopy(pipe.net).to(self.device))
        return pipe.in_precision(self.experiment.precision)

    def measure(self) -> Measure:
        against = Against(f"{self.experiment.data.data} (split train)", self.data)
        height, width = self.data.images.shape[1:3]
        return measure(choose(self.data.origin), against, (height, width), self.device)

    def distance(
        self, measure: Measure, folder: Path, share: Share, follow: Follow
    ) -> list[Figure]:
        ready = self._ready()
        wanted = [self.experiment.evaluate_samples]
        how = self.pipe.defaults
        results = measure_samples(
            ready, [measure], how, wanted, folder, chosen=("fd",), share=share, follow=follow
        )
        return [figure for _, found in results for figure in found]


def shows_image(schedule: Schedule, shape: tuple[int, int, int]) -> str:
    """Return a warning if images (C, H, W) are visible at the last level of a schedule, else ""."""
    level = schedule.row(len(schedule))
    if signal(level, shape) <= VISIBLE:
        return ""
    return (
        "the schedule does not end in pure noise, from which samples start (alpha is "
        f'{level.alpha:.3g} at the last timestep): choose `schedule="cosine"` or more `timesteps`'
    )


def _fitted(
    conditions: Sequence[Condition], shape: tuple[int, int, int], augmented: float
) -> tuple[Condition, ...]:
    """Adapt the conditions to a network whose x has the shape (C, H, W).

    Raises UserError if an image condition does not fit, or if non-leaking augmentation (with the
    probability ``augmented``) would move the training images but not an image condition.
    """
    images = [each for each in conditions if each.spatial]
    if images and augmented:
        raise UserError(
            f"`non_leaking` would move the images, but not the images of the condition "
            f"{images[0].name!r}: leave out `non_leaking`"
        )
    return tuple(
        each.fitted(shape) if isinstance(each, ImageCondition) else each for each in conditions
    )


def _spread(data: Prepared, conditions: Sequence[Condition]) -> Rows:
    """Return the indices of the training images whose conditions a checkpoint keeps.

    If the conditions are large, fewer images are chosen.
    """
    size = sum(each.null(1).numel() for each in conditions)
    count = min(len(data), EXAMPLES, max(64, NUMBERS // size))
    return np.sort(np.random.default_rng(0).permutation(len(data))[:count])
