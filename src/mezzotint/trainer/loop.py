"""The training loop: a generator of steps. Its callers write logs, checkpoints and sample images.

A Task defines the loss, for a diffusion model or an autoencoder; the loop is the same for both. All
randomness of a step is drawn for the whole batch from a generator seeded by (seed, step), and each
process takes its share. So no random state has to be saved, and a run does not depend on
interruptions. A run does not depend on the number of processes either, except for four things that
depend on how a batch is divided: dropout, kornia's augmentations for autoencoders, the adaptive
weight of the adversarial term, and the pairs of images in contrastive flow matching.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import numpy as np
import torch
from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from mezzotint import devices
from mezzotint.errors import UserError
from mezzotint.strict import Choice, strict
from mezzotint.trainer.optimizers import OPTIMIZERS
from mezzotint.trainer.sharding import whole

if TYPE_CHECKING:
    from accelerate import Accelerator

KNOBS = 16  # uniform numbers per image, which determine its augmentation


@strict
class TrainConfig:
    """The settings for training a network.

    All durations are in images seen, except ``cooldown``, which is a share of the training.
    """

    images: PositiveInt = 7_808_000
    """Images to train on in total."""
    batch: PositiveInt = 128
    """Images per step, over all processes."""
    accumulate: PositiveInt = 1
    """The number of parts into which each process divides its share of a batch, to save memory."""
    optimizer: Annotated[str, Choice(OPTIMIZERS)] = "adamw"
    """The optimizer: adamw, or muon, which uses Muon for matrices and convolutions and
    AdamW for the rest."""
    lr: PositiveFloat = 2e-4
    """Learning rate."""
    weight_decay: NonNegativeFloat = 0.0
    """Decoupled weight decay."""
    warmup: NonNegativeInt = 640_000
    """Images over which the learning rate rises from 0."""
    cooldown: NonNegativeFloat = 0.0
    """The share of the training, at its end, in which the learning rate falls to 0; 0.1 is the last
    tenth."""
    clip: PositiveFloat = 1.0
    """Upper bound of the gradient's norm; a larger gradient is scaled down to this norm."""
    ema_halflife: float = Field(default=887_000.0, ge=1)
    """Half-life of the averaged weights, in images (887,000 is a decay of 0.9999 at batch 128)."""
    snapshots: NonNegativeInt = 0
    """Images from one snapshot to the next; 0 saves none. A snapshot holds two short averages of
    the weights, from which `mezzotint average` computes averages of any length.
    """
    seed: int = Field(default=0, ge=0, lt=2**63)
    """The seed of all randomness of the run."""

    def __post_init__(self) -> None:
        if self.batch % self.accumulate:
            raise ValueError(
                f"`accumulate` is {self.accumulate}: choose a divisor of the `batch`, {self.batch}"
            )
        if self.cooldown > 1:
            raise ValueError(
                f"`cooldown` is {self.cooldown:g}: choose 0 to 1, a share of the training"
            )

    @property
    def steps(self) -> int:
        """The number of training steps, rounded up, because all batches have the same size."""
        return -(-self.images // self.batch)

    def share(self, processes: int) -> int:
        """Return the number of images that a process works on at once.

        Raises UserError if the processes cannot share a batch equally.
        """
        share, rest = divmod(self.batch, processes * self.accumulate)
        if rest:
            raise UserError(
                f"`batch` is {self.batch}, which cannot be divided equally among {processes} "
                f"processes with `accumulate={self.accumulate}`: choose a multiple of "
                f"{processes * self.accumulate}"
            )
        return share

    def lr_at(self, step: int) -> float:
        """Return the learning rate of a step.

        It rises linearly in the warm-up, then stays constant, and falls linearly in the cooldown.
        """
        warm = (step + 1) * self.batch / self.warmup if self.warmup else 1.0
        left = (self.steps - step) / (self.cooldown * self.steps) if self.cooldown else 1.0
        return self.lr * min(1.0, warm, left)


@plain_dataclass(frozen=True)
class Examples:
    """The training samples of a part of a batch, and their conditions."""

    x0: Tensor  # (B, C, H, W), on the device, augmented
    # Conditions by name, each with B rows.
    condition: Mapping[str, Tensor] = field(default_factory=dict)
    augmentation: Tensor | None = None  # (B, n): numbers that describe the augmentation


Batch: TypeAlias = Callable[[int, int, Tensor], Examples]
"""``batch(start, count, u)`` returns the ``count`` training samples after the first ``start``.

The uniform numbers u (count, KNOBS) determine their augmentation.
"""


class Task(nn.Module):
    """The objective of a training. If it has parameters, they are trained with the network."""

    dtype = torch.float32

    def draw(self, batch: int, seen: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Draw the random tensors, (B, ...) each, of the step after ``seen`` images."""
        raise NotImplementedError

    def forward(
        self, net: nn.Module, examples: Examples, *drawn: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a part of a batch, and named values for the log, "loss" first."""
        raise NotImplementedError

    def agree(self, accelerator: Accelerator, *drawn: Tensor) -> None:
        """Make the task the same in all processes after a batch: average the task's gradients."""
        for parameter in self.parameters():
            if accelerator.num_processes > 1 and parameter.grad is not None:
                parameter.grad = accelerator.reduce(parameter.grad, "mean")

    def fitted(self, saved: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the task's saved tensors, with the sizes that they have in this training.

        The sizes may differ if a training is resumed with another number of images.
        """
        return saved

    def autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        """Return the context in which networks compute in ``dtype``; losses are float32."""
        return devices.autocast(device, self.dtype)


@plain_dataclass(frozen=True)
class Step:
    """The loss and other values of a step; tensors stay on the device until they are read."""

    step: int  # steps so far, including this one
    figures: dict[str, Tensor]  # the task's values for the log, means over batch and processes
    grad_norm: Tensor  # norm of the network's gradient, before clipping
    lr: float

    @property
    def loss(self) -> Tensor:
        """The loss, a mean over the batch and the processes."""
        return self.figures["loss"]


def optimizer(net: nn.Module, config: TrainConfig, task: nn.Module) -> torch.optim.Optimizer:
    """Make the optimizer of a network's weights and the training task's parameters.

    The parameters of the task have no weight decay. Weights that do not require a gradient are left
    out.
    """
    made = OPTIMIZERS[config.optimizer](net, config.lr, config.weight_decay)
    if beside := [parameter for parameter in task.parameters() if parameter.requires_grad]:
        made.add_param_group({"params": beside, "weight_decay": 0.0})
    return made


def train(
    accelerator: Accelerator,
    net: nn.Module,
    ema: AveragedModel,
    optimizer: torch.optim.Optimizer,
    task: Task,
    batch: Batch,
    config: TrainConfig,
    start: int = 0,
) -> Iterator[Step]:
    """Minimise the loss of a task from step ``start`` on, and yield a `Step` after each step.

    A step also updates ``ema``. Every step seeds torch's global generator, for dropout. No training
    step waits for the device, but reading the tensors of a yielded `Step` waits for it.

    Args:
        accelerator: The processes and their device.
        net: The network, as ``accelerator.prepare`` returned it, or divided by `sharding.shard`.
        ema: The average of the network's weights.
        optimizer: The optimizer of the network and the task; see `optimizer`.
        task: The objective to minimise.
        batch: A function that returns training samples; see `Batch`.
        config: The settings of the training.
        start: The step to start from.
    """
    rank, share = accelerator.process_index, config.share(accelerator.num_processes)
    task.to(accelerator.device)
    bare = accelerator.unwrap_model(net)
    for step in range(start, config.steps):
        generator = _generator(accelerator.device, config.seed, step)
        drawn = task.draw(config.batch, step * config.batch, generator)
        u = torch.rand(config.batch, KNOBS, generator=generator, device=accelerator.device)
        # rank + 1, because a trailing 0 would not change the seed.
        torch.manual_seed(mixed(config.seed, step, rank + 1))
        for group in optimizer.param_groups:
            group["lr"] = config.lr_at(step)

        total: dict[str, Tensor] = {}
        for part in range(config.accumulate):
            first = (rank * config.accumulate + part) * share
            mine = slice(first, first + share)
            examples = batch(step * config.batch + first, share, u[mine])
            last = part == config.accumulate - 1
            apart = nullcontext() if last else accelerator.no_sync(net)
            with apart, devices.in_full(task.dtype):
                loss, figures = task(net, examples, *(rows[mine] for rows in drawn))
                accelerator.backward(loss / config.accumulate)
            for name, value in figures.items():
                total[name] = total.get(name, 0) + value / config.accumulate
        # If another process has died, one of the next three calls (reduce, agree, clip_grad_norm_)
        # raises an error. Before them nothing is learned, and after them nothing can fail. So the
        # saved state is the state after a whole step.
        total = {name: accelerator.reduce(value, "mean") for name, value in total.items()}
        task.agree(accelerator, *drawn)
        norm = whole(accelerator.clip_grad_norm_(net.parameters(), config.clip))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        ema.update_parameters(bare)
        yield Step(step + 1, total, norm, config.lr_at(step))


def mixed(*numbers: int) -> int:
    """Mix several numbers into one seed; neighbouring numbers give unrelated seeds."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def _generator(device: torch.device, *numbers: int) -> torch.Generator:
    """Return a generator on a device, seeded with several numbers."""
    return torch.Generator(device).manual_seed(mixed(*numbers))
