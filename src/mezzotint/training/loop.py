"""The training loop: a generator of steps. Callers log, save and draw.

All randomness of a step is drawn for the whole batch from one generator seeded by (seed, step), and
each process takes its share: a run depends neither on how often it was interrupted nor, but for
dropout, on how many processes share a batch, and no random state has to be saved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass as plain_dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from accelerate import Accelerator
from pydantic import (
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from mezzotint.errors import UserError
from mezzotint.noise import Schedule
from mezzotint.training.levels import Adaptive
from mezzotint.training.objective import Objective


@dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
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
    label_dropout: NonNegativeFloat = 0.1
    """Share of labels replaced by the null class, which classifier-free guidance needs."""
    weighting: Literal["simple", "min_snr", "p2", "sigmoid", "learned"] = "simple"
    """How the levels' losses are weighed: all alike, by their signal to noise, or as they are."""
    levels: Literal["uniform", "adaptive"] = "uniform"
    """Which levels are trained on: all alike, or more often where the loss is larger."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """All of a run's randomness follows from it."""

    def __post_init__(self) -> None:
        if self.batch % self.accumulate:
            raise ValueError(
                f"accumulate {self.accumulate} does not divide a batch of {self.batch}"
            )
        if self.cooldown > 1 or self.label_dropout > 1:
            raise ValueError("cooldown and label_dropout are shares: choose 0 to 1")

    @property
    def steps(self) -> int:
        """Steps in all: the last is a whole batch too."""
        return -(-self.images // self.batch)

    def share(self, processes: int) -> int:
        """Pictures that a process works through at once; UserError where they cannot be shared."""
        share, rest = divmod(self.batch, processes * self.accumulate)
        if rest:
            raise UserError(
                f"a batch of {self.batch} cannot be shared by {processes} processes x "
                f"{self.accumulate} parts: choose a multiple of {processes * self.accumulate}"
            )
        return share

    def objective(self, T: int, learn_variance: bool = False) -> Objective:
        """What is minimised over a schedule of T rows, with nothing learned yet."""
        levels = Adaptive(T) if self.levels == "adaptive" else None
        return Objective(self.weighting, levels, learn_variance)

    def lr_at(self, step: int) -> float:
        """The learning rate of a step: a linear rise, a plateau, a linear fall to 0."""
        warm = (step + 1) * self.batch / self.warmup if self.warmup else 1.0
        left = (self.steps - step) / (self.cooldown * self.steps) if self.cooldown else 1.0
        return self.lr * min(1.0, warm, left)


Batch: TypeAlias = Callable[[int, int, Tensor], tuple[Tensor, Tensor | None]]
"""``batch(start, count, u) -> (x0, labels)``: training samples number start to start + count - 1,
x0 (count, C, H, W) on the device, augmented as the uniform numbers u (count,) say; labels (count,)
or None."""


@plain_dataclass(frozen=True)
class Step:
    """What a step was like; ``loss`` and ``grad_norm`` stay on the device until they are read."""

    step: int  # steps made so far, this one included
    loss: Tensor  # the mean squared error over the batch, all processes, whatever was minimised
    grad_norm: Tensor  # the network's, before clipping
    lr: float


def optimizer(
    net: nn.Module, config: TrainConfig, objective: nn.Module | None = None
) -> torch.optim.AdamW:
    """AdamW in its fused form, for a network and what its objective learns, which never decays."""
    groups: list[dict[str, Any]] = [{"params": list(net.parameters())}]
    if objective and (beside := list(objective.parameters())):
        groups.append({"params": beside, "weight_decay": 0.0})
    return torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay, fused=True)


def train(
    accelerator: Accelerator,
    net: nn.Module,
    ema: AveragedModel,
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    prediction: str,
    batch: Batch,
    shape: tuple[int, ...],
    classes: int,
    config: TrainConfig,
    start: int = 0,
    dtype: torch.dtype = torch.float32,
    objective: Objective | None = None,
) -> Iterator[Step]:
    """Minimise ``E w |net(alpha x0 + sigma eps, t) - (p x0 + q eps)|^2`` from step ``start`` on.

    ``net`` is as ``accelerator.prepare`` returned it, ``shape`` one picture's as the network sees
    it. w and how t is drawn are the ``objective``'s, the one that ``optimizer`` was made with;
    None is the config's, with nothing learned yet. The network computes in ``dtype``, by autocast;
    the loss and the weights are float32. Yields after each step, ``ema`` updated. Seeds torch's
    global generator each step, for dropout.
    """
    rank, share = accelerator.process_index, config.share(accelerator.num_processes)
    schedule = schedule.to(accelerator.device)
    objective = (objective or config.objective(len(schedule))).to(accelerator.device)
    bare = accelerator.unwrap_model(net)
    for step in range(start, config.steps):
        draw = _generator(accelerator.device, config.seed, step)
        shared: dict[str, Any] = {"generator": draw, "device": accelerator.device}
        rows = objective.draw(len(schedule), config.batch, draw)
        eps = torch.randn(config.batch, *shape, **shared)
        dropped = torch.rand(config.batch, **shared) < config.label_dropout
        u = torch.rand(config.batch, **shared)
        torch.manual_seed(_mix(config.seed, step, rank + 1))  # + 1: a trailing 0 changes nothing
        for group in optimizer.param_groups:
            group["lr"] = config.lr_at(step)

        total = torch.zeros((), device=accelerator.device)
        for part in range(config.accumulate):
            first = (rank * config.accumulate + part) * share
            mine = slice(first, first + share)
            x0, labels = batch(step * config.batch + first, share, u[mine])
            if labels is not None:
                labels = labels.masked_fill(dropped[mine], classes)
            level = schedule.levels(rows[mine], x0.ndim)
            x = level.alpha * x0 + level.sigma * eps[mine]
            last = part == config.accumulate - 1
            with nullcontext() if last else accelerator.no_sync(net):
                with torch.autocast(x.device.type, dtype, enabled=dtype != torch.float32):
                    output = net(x, level.t, labels)
                loss, error = objective(
                    output.float(), x0, eps[mine], rows[mine], schedule, prediction
                )
                accelerator.backward(loss / config.accumulate)
            total += error / config.accumulate
        objective.agree(accelerator, rows)
        norm = accelerator.clip_grad_norm_(net.parameters(), config.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        ema.update_parameters(bare)
        yield Step(step + 1, accelerator.reduce(total, "mean"), norm, config.lr_at(step))


def _mix(*numbers: int) -> int:
    """One seed from several numbers, unlike for neighbours."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def _generator(device: torch.device, *numbers: int) -> torch.Generator:
    return torch.Generator(device).manual_seed(_mix(*numbers))
