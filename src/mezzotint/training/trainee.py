"""All that training changes, into a checkpoint and out of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from mezzotint.training import checkpoint


@dataclass
class Trainee:
    """All that training changes, and all that a checkpoint holds."""

    net: nn.Module
    ema: AveragedModel
    optimizer: torch.optim.Optimizer
    step: int = 0
    pending: list[tuple[float, float]] = field(default_factory=list)  # not yet logged: loss, norm
    timed: int = 0  # steps of those that this process made,
    seconds: float = 0.0  # and the time they took

    def summary(self, lr: float, batch: int) -> dict[str, Any]:
        """The row of log.jsonl over the steps since the last one, whose account it closes."""
        losses, norms = zip(*self.pending, strict=True)
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

    def save(self, folder: Path, config: dict[str, Any], facts: dict[str, Any], keep: int) -> Path:
        """Write ``folder/step-N``, with the configuration and what the data brought beside."""
        state = self.optimizer.state_dict()["state"]
        return checkpoint.save(
            folder,
            self.step,
            {
                "net": self.net.state_dict(),
                "ema": self.ema.module.state_dict(),
                "optimizer": {f"{i}.{k}": v for i, s in state.items() for k, v in s.items()},
            },
            {
                "config": config,
                "state": {"step": self.step, "pending": self.pending, **facts},
            },
            keep,
        )

    def restore(self, folder: Path) -> None:
        """Become what a checkpoint holds."""
        state = json.loads((folder / "state.json").read_text())
        self.step, self.pending = state["step"], [(a, b) for a, b in state["pending"]]
        self.net.load_state_dict(load_file(folder / "net.safetensors"))
        self.ema.module.load_state_dict(load_file(folder / "ema.safetensors"))
        self.ema.n_averaged.fill_(self.step)
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in load_file(folder / "optimizer.safetensors").items():
            index, key = name.split(".")
            moments.setdefault(int(index), {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
