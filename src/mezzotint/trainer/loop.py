"""The training loop: a generator of steps. Callers log, save and draw.

What a training is about, a diffusion model or an autoencoder, is its Task; nothing here knows.
All randomness of a step is drawn for the whole batch from one generator seeded by (seed, step), and
each process takes its share: no random state has to be saved, a run does not depend on how often
it was interrupted, nor on how many processes share a batch, but for dropout, and of an autoencoder
for kornia's augmentations and the weight of its discriminator, which are a part's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass as plain_dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

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

from mezzotint.errors import UserError
from mezzotint.strict import strict

if TYPE_CHECKING:
    from accelerate import Accelerator

KNOBS = 16  # uniform numbers an image, which its augmentation follows from


@strict
class TrainConfig:
    """How a network is trained. All durations are in images seen."""

    images: PositiveInt = 7_808_000
    """Images to train on in all."""
    batch: PositiveInt = 128
    """Images a step, over all processes."""
    accumulate: PositiveInt = 1
    """Parts a batch is worked through in, to save memory."""
    lr: PositiveFloat = 2e-4
    """Learning rate of AdamW."""
    weight_decay: NonNegativeFloat = 0.0
    """Decoupled weight decay."""
    warmup: NonNegativeInt = 640_000
    """Images over which the learning rate rises from 0."""
    cooldown: NonNegativeFloat = 0.0
    """Share of the training, at its end, over which the learning rate falls to 0."""
    clip: PositiveFloat = 1.0
    """Bound on the norm of the gradient."""
    ema_halflife: float = Field(default=887_000.0, ge=1)
    """Half-life of the averaged weights, in images (887,000 is a decay of 0.9999 at batch 128)."""
    snapshots: NonNegativeInt = 0
    """Images between snapshots of two short averages, from which `mezzotint average` rebuilds one
    of any length afterwards; 0 for none."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """All of a run's randomness follows from it."""

    def __post_init__(self) -> None:
        if self.batch % self.accumulate:
            raise ValueError(
                f"`accumulate` is {self.accumulate}: choose a divisor of the `batch`, {self.batch}"
            )
        if self.cooldown > 1:
            raise ValueError(f"`cooldown` is {self.cooldown:g}, a share: choose 0 to 1")

    @property
    def steps(self) -> int:
        """Steps in all: the last is a whole batch too."""
        return -(-self.images // self.batch)

    def share(self, processes: int) -> int:
        """Images that a process works through at once; UserError where they cannot be shared."""
        share, rest = divmod(self.batch, processes * self.accumulate)
        if rest:
            raise UserError(
                f"`batch` is {self.batch}, which {processes} processes cannot share in "
                f"{self.accumulate} parts each: choose a multiple of "
                f"{processes * self.accumulate}"
            )
        return share

    def lr_at(self, step: int) -> float:
        """The learning rate of a step: a linear rise, a plateau, a linear fall to 0."""
        warm = (step + 1) * self.batch / self.warmup if self.warmup else 1.0
        left = (self.steps - step) / (self.cooldown * self.steps) if self.cooldown else 1.0
        return self.lr * min(1.0, warm, left)


@plain_dataclass(frozen=True)
class Examples:
    """Images of a step, or what else is learned, and what the network is told of them."""

    x0: Tensor  # (B, C, H, W), on the device, augmented
    labels: Tensor | None = None  # (B,)
    told: Tensor | None = None  # (B, n): their augmentation


Batch: TypeAlias = Callable[[int, int, Tensor], Examples]
"""``batch(start, count, u)``: training samples number start to start + count - 1, augmented as the
uniform numbers u (count, KNOBS) say."""


class Task(nn.Module):
    """What is minimised; its parameters and buffers are what is learned beside the network."""

    dtype = torch.float32

    def draw(self, batch: int, seen: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """The randomness of a step after ``seen`` images: tensors of one row an image."""
        raise NotImplementedError

    def forward(
        self, net: nn.Module, examples: Examples, *drawn: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Of a part of a batch: what to minimise, and the figures for the log, "loss" first."""
        raise NotImplementedError

    def agree(self, accelerator: Accelerator, *drawn: Tensor) -> None:
        """After the parts of a batch: make all processes agree on what was learned beside."""
        for parameter in self.parameters():
            if accelerator.num_processes > 1 and parameter.grad is not None:
                parameter.grad = accelerator.reduce(parameter.grad, "mean")

    def autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        """In which networks compute in ``dtype``; weights and losses are float32."""
        return torch.autocast(device.type, self.dtype, enabled=self.dtype != torch.float32)


@plain_dataclass(frozen=True)
class Step:
    """What a step was like; tensors stay on the device until they are read."""

    step: int  # steps made so far, this one included
    figures: dict[str, Tensor]  # the task's, means over the batch and all processes
    grad_norm: Tensor  # the network's, before clipping
    lr: float

    @property
    def loss(self) -> Tensor:
        return self.figures["loss"]


def optimizer(net: nn.Module, config: TrainConfig, task: nn.Module) -> torch.optim.AdamW:
    """AdamW in its fused form, for a network and what its task learns beside, which never decays.

    What of the network asks for no gradient is left as it is.
    """
    trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [{"params": trained}]
    if beside := list(task.parameters()):
        groups.append({"params": beside, "weight_decay": 0.0})
    return torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay, fused=True)


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
    """Minimise what the task says, from step ``start`` on.

    ``net`` is as ``accelerator.prepare`` returned it, ``task`` the one that ``optimizer`` was made
    with. Yields after each step, ``ema`` updated. Seeds torch's global generator each step, for
    dropout.
    """
    rank, share = accelerator.process_index, config.share(accelerator.num_processes)
    task.to(accelerator.device)
    bare = accelerator.unwrap_model(net)
    for step in range(start, config.steps):
        generator = _generator(accelerator.device, config.seed, step)
        drawn = task.draw(config.batch, step * config.batch, generator)
        u = torch.rand(config.batch, KNOBS, generator=generator, device=accelerator.device)
        torch.manual_seed(_mix(config.seed, step, rank + 1))  # + 1: a trailing 0 changes nothing
        for group in optimizer.param_groups:
            group["lr"] = config.lr_at(step)

        total: dict[str, Tensor] = {}
        for part in range(config.accumulate):
            first = (rank * config.accumulate + part) * share
            mine = slice(first, first + share)
            examples = batch(step * config.batch + first, share, u[mine])
            last = part == config.accumulate - 1
            with nullcontext() if last else accelerator.no_sync(net):
                loss, figures = task(net, examples, *(rows[mine] for rows in drawn))
                accelerator.backward(loss / config.accumulate)
            for name, value in figures.items():
                total[name] = total.get(name, 0) + value / config.accumulate
        task.agree(accelerator, *drawn)
        norm = accelerator.clip_grad_norm_(net.parameters(), config.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        ema.update_parameters(bare)
        total = {name: accelerator.reduce(value, "mean") for name, value in total.items()}
        yield Step(step + 1, total, norm, config.lr_at(step))


def _mix(*numbers: int) -> int:
    """One seed from several numbers, unlike for neighbours."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def _generator(device: torch.device, *numbers: int) -> torch.Generator:
    return torch.Generator(device).manual_seed(_mix(*numbers))
