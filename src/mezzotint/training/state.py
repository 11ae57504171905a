"""All that training changes, into a checkpoint and out of it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from mezzotint.errors import UserError
from mezzotint.training import checkpoint
from mezzotint.training.objective import Objective

Number: TypeAlias = float | Tensor


@dataclass
class TrainState:
    """All that training changes, and all that a checkpoint holds."""

    net: nn.Module
    ema: AveragedModel
    optimizer: torch.optim.Optimizer
    objective: Objective = field(default_factory=Objective)
    step: int = 0
    pending: list[tuple[Number, Number]] = field(default_factory=list)  # not yet logged: loss, norm
    timed: int = 0  # steps of those that this process made,
    seconds: float = 0.0  # and the time they took

    def summary(self, lr: float, batch: int) -> dict[str, Any]:
        """The row of log.jsonl over the steps since the last one, whose account it closes.

        Raises UserError as `read` does.
        """
        losses, norms = zip(*self.read(), strict=True)
        row = {
            "step": self.step,
            "images": self.step * batch,
            "loss": sum(losses) / len(losses),
            "grad_norm": sum(norms) / len(norms),
            "lr": lr,
            "images_per_second": round(self.timed * batch / self.seconds, 2),
        }
        self.pending, self.seconds, self.timed = [], 0.0, 0
        return row

    def read(self) -> list[tuple[float, float]]:
        """What is pending, fetched from the device.

        Raises UserError where a loss or a gradient is not finite, before anything of it is kept.
        """
        first = self.step - len(self.pending) + 1
        pairs = [(float(loss), float(norm)) for loss, norm in self.pending]
        for step, pair in enumerate(pairs, first):
            if not all(math.isfinite(value) for value in pair):
                raise UserError(
                    f"the loss or its gradient is not finite at step {step}: begin again with a "
                    "lower --lr and another --out; what was saved is from before"
                )
        self.pending = [*pairs]
        return pairs

    def save(self, folder: Path, config: dict[str, Any], facts: dict[str, Any], keep: int) -> Path:
        """Write ``folder/step-N``, with the configuration and what the data brought beside."""
        pending = self.read()
        state = self.optimizer.state_dict()["state"]
        beside = self.objective.state_dict()
        return checkpoint.save(
            folder,
            self.step,
            {
                "net": self.net.state_dict(),
                "ema": self.ema.module.state_dict(),
                "optimizer": {f"{i}.{k}": v for i, s in state.items() for k, v in s.items()},
                **({"objective": beside} if beside else {}),
            },
            {
                "config": config,
                "state": {"step": self.step, "pending": pending, **facts},
            },
            keep,
        )

    def save_average(self, final: Path, config: dict[str, Any], facts: dict[str, Any]) -> Path:
        """Write the averaged weights alone: enough to sample from, not to train on."""
        ema = {"ema": self.ema.module.state_dict()}
        state = {"step": self.step, **facts}
        return checkpoint.write(final, ema, {"config": config, "state": state})

    def restore(self, folder: Path) -> None:
        """Become what a checkpoint holds."""
        state = json.loads((folder / "state.json").read_text())
        self.step, self.pending = state["step"], [(a, b) for a, b in state["pending"]]
        self.net.load_state_dict(load_file(folder / "net.safetensors"))
        self.ema.module.load_state_dict(load_file(folder / "ema.safetensors"))
        self.ema.n_averaged.fill_(self.step)
        if self.objective.state_dict():
            self.objective.load_state_dict(load_file(folder / "objective.safetensors"))
        weights = [*self.net.parameters(), *self.objective.parameters()]
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in load_file(folder / "optimizer.safetensors").items():
            index, key = name.split(".")
            if value.ndim:  # laid out as the weight: the fused step walks both in memory's order
                value = torch.empty_like(weights[int(index)]).copy_(value)
            moments.setdefault(int(index), {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
