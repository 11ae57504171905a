"""Convert the state of a training to dictionaries of tensors and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from mezzotint.errors import UserError
from mezzotint.networks import Network
from mezzotint.trainer import sharding
from mezzotint.trainer.loop import Task

Figures: TypeAlias = Mapping[str, float | Tensor]
"""The values of one step for the log, by name."""


@dataclass
class TrainState:
    """The state of a training: everything that a step changes."""

    net: Network
    ema: AveragedModel
    optimizer: torch.optim.Optimizer
    task: Task
    averages: dict[str, AveragedModel] = field(default_factory=dict)  # from `posthoc`, if kept
    step: int = 0
    pending: list[Figures] = field(default_factory=list)  # one per step, not yet logged
    sampled: Network | None = None  # the whole averaged network, if weights are divided
    timed: int = 0  # how many of the pending steps this process made, not an earlier process
    seconds: float = 0.0  # the time that those steps took

    def summary(self, lr: float, batch: int) -> dict[str, Any]:
        """Return the row of log.jsonl for the steps since the last row, and start a new row.

        Raises UserError if a number is not finite.
        """
        steps = self.read()
        figures: dict[str, list[float]] = {}
        for step in steps:
            for name, value in step.items():
                figures.setdefault(name, []).append(value)
        row = {
            "step": self.step,
            "images": self.step * batch,
            **{name: sum(values) / len(values) for name, values in figures.items()},
            "lr": lr,
            "images_per_second": round(self.timed * batch / self.seconds, 2),
        }
        self.pending, self.seconds, self.timed = [], 0.0, 0
        return row

    def read(self) -> list[dict[str, float]]:
        """Return the values of each step since the log's last row, fetched from the device.

        Raises UserError if a value is not finite.
        """
        first = self.step - len(self.pending) + 1
        values = [value for figures in self.pending for value in figures.values()]
        left = iter(_fetched(values))
        steps = [{name: next(left) for name in figures} for figures in self.pending]
        for step, figures in enumerate(steps, first):
            if wrong := [name for name, value in figures.items() if not math.isfinite(value)]:
                what = {"grad_norm": "gradient"}.get(wrong[0], wrong[0].replace("_", " "))
                raise UserError(
                    f"the {what} is not finite at step {step}: start again with a lower `lr` and "
                    "another `out`; the checkpoints saved so far are unaffected"
                )
        self.pending = [*steps]
        return steps

    @property
    def average(self) -> nn.Module:
        """The network with the averaged weights.

        If weights are divided among processes, call `gather` first.
        """
        return self.ema.module if self.sampled is None else self.sampled

    def divide(self, optimize: Callable[[], torch.optim.Optimizer], device: torch.device) -> None:
        """Divide weights, averages and optimizer state among all processes; move them to a device.

        ``optimize`` makes the optimizer of the divided network. `average` remains a whole network
        on its present device; `gather` updates it. Call this before the first step.
        """
        self.sampled = cast(Network, self.ema.module)
        for average in (self.ema, *self.averages.values()):
            average.module = sharding.sharded(average.module, device)
        sharding.shard(self.net, device)
        self.optimizer = optimize()

    def gather(self) -> None:
        """Bring `average` up to date, if weights are divided among processes.

        All processes must call this.
        """
        if self.sampled is not None:
            now = self.ema.module.state_dict()
            for name, tensor in self.sampled.state_dict().items():
                tensor.copy_(sharding.whole(now[name]))

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Return the result of `parts` with every divided tensor put together.

        If weights are divided, all processes must call this, and only the first process gets
        tensors.
        """
        parts = self.parts()
        if self.sampled is None:
            return parts
        return {name: sharding.gathered(part) for name, part in parts.items()}

    def parts(self) -> dict[str, dict[str, Tensor]]:
        """Return all tensors of the state as a dictionary of dictionaries: net, ema, optimizer.

        It also has "task" if the task has any tensors, and an entry for each of ``averages``. The
        step and the values that are not yet logged are not included.
        """
        moments = self.optimizer.state_dict()["state"]
        beside = self.task.state_dict()
        return {
            "net": self.net.state_dict(),
            "ema": self.ema.module.state_dict(),
            "optimizer": {f"{i}.{k}": v for i, s in moments.items() for k, v in s.items()},
            **({"task": beside} if beside else {}),
            **{name: a.module.state_dict() for name, a in self.averages.items()},
        }

    def snapshots(self) -> dict[str, dict[str, Tensor]]:
        """Return the weights of ``averages`` as float16, to be combined later (`posthoc`).

        Weights that are not trained are left out. All weights are far below float16's largest
        value, and bfloat16 would have eight times the rounding error, which a linear combination
        amplifies. If weights are divided, all processes must call this.
        """
        found = {
            # The names are those of the state dict, which for a user's own network differ from
            # those of its parameters.
            name: {
                k: p.detach().half()
                for k, p in a.module.state_dict(keep_vars=True).items()
                if p.requires_grad
            }
            for name, a in self.averages.items()
        }
        if self.sampled is None:
            return found
        return {name: sharding.gathered(part) for name, part in found.items()}

    def load(
        self, step: int, pending: Sequence[Figures], parts: Mapping[str, Mapping[str, Tensor]]
    ) -> None:
        """Restore a state from its step, the values not yet logged, and the result of `tensors`."""
        self.step, self.pending = step, [*pending]
        self.net.load_state_dict(sharding.divided(parts["net"], self.net))
        for name, average in {"ema": self.ema, **self.averages}.items():
            average.module.load_state_dict(sharding.divided(parts[name], average.module))
        for average in (self.ema, *self.averages.values()):
            average.n_averaged.fill_(self.step)
        if self.task.state_dict():
            self.task.load_state_dict(parts["task"])
        weights = [p for group in self.optimizer.param_groups for p in group["params"]]
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in parts["optimizer"].items():
            index, key = name.split(".")
            if value.ndim:  # the fused step needs moments in the memory layout of the weight
                weight = weights[int(index)]
                value = torch.empty_like(weight).copy_(sharding.like(value, weight))
            moments.setdefault(int(index), {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})


def _fetched(values: Sequence[float | Tensor]) -> list[float]:
    """Convert numbers to Python floats; tensors are fetched from their device all at once."""
    there = [value for value in values if isinstance(value, Tensor)]
    fetched = iter(torch.stack([v.double() for v in there]).tolist() if there else [])
    return [next(fetched) if isinstance(value, Tensor) else value for value in values]
