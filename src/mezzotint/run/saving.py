"""Write the state of a training to a checkpoint, and read it back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from mezzotint.errors import Damaged
from mezzotint.interop.folder import unmatched
from mezzotint.networks.custom import Custom, fill
from mezzotint.pipeline import codecs
from mezzotint.storage import checkpoint
from mezzotint.trainer.posthoc import GAMMAS
from mezzotint.trainer.sharding import divided
from mezzotint.trainer.state import TrainState

Facts: TypeAlias = dict[str, Any]
Tensors: TypeAlias = Mapping[str, Mapping[str, Tensor]]


def save(
    state: TrainState,
    tensors: Tensors,
    folder: Path,
    config: Facts,
    facts: Facts,
    keep: int,
    more: Tensors,
) -> Path:
    """Write ``folder/step-N`` with the state, the configuration, and ``facts`` about the data.

    Args:
        state: The state of the training.
        tensors: The return value of ``state.tensors()``.
        folder: The run's folder of checkpoints.
        config: The content of config.json.
        facts: The facts about the training set.
        keep: The number of checkpoints to keep.
        more: Further tensors that a finished model needs, one file for each name.

    Raises:
        UserError: If a tensor, or a number that is still to be logged, such as the loss, is not
            finite, or if writing fails. No checkpoint is written in these cases.
    """
    said = {"step": state.step, "pending": state.read(), **facts}
    tensors = {**tensors, **more}
    return checkpoint.save(folder, state.step, tensors, {"config": config, "state": said}, keep)


def save_average(
    state: TrainState, final: Path, config: Facts, facts: Facts, more: Tensors
) -> Path:
    """Write a checkpoint with only the averaged weights, for sampling, and return the path."""
    tensors = {"ema": state.average.state_dict(), **more}
    said = {"step": state.step, **facts}
    return checkpoint.write(final, tensors, {"config": config, "state": said})


def snapshot(state: TrainState, tensors: Tensors, folder: Path) -> Path:
    """Write ``folder/step-N`` with the present averages of the weights, one for each of `GAMMAS`.

    `run.averages` combines the snapshots of all steps into averages of other lengths. ``tensors``
    is the return value of ``state.snapshots()``. Raises UserError if an average, or a number that
    is still to be logged, is not finite, or if writing fails.
    """
    state.read()
    said = {"step": state.step, "gammas": {name: GAMMAS[name] for name in tensors}}
    # All snapshots are kept; there is at most one per step.
    return checkpoint.save(folder, state.step, tensors, {"state": said}, keep=state.step)


def restore(state: TrainState, folder: Path) -> None:
    """Restore a state from a checkpoint.

    Raises Damaged if the tensors in the checkpoint do not fit the state, and UserError if a user's
    own network is not the network whose weights the checkpoint holds.
    """
    said = codecs.facts(folder, "step", "pending")
    if folder.name != f"step-{said['step']}":
        raise Damaged(f"{folder} is damaged: its state.json has the step {said['step']}")
    wanted = state.parts()
    parts = {name: checkpoint.tensors(folder, name) for name in wanted}
    if "task" in parts:
        parts["task"] = state.task.fitted(parts["task"])
    if isinstance(state.net, Custom):
        fill(state.net, divided(parts["net"], state.net), folder)
    wrong = _moments(state, parts["optimizer"])
    for name in wanted.keys() - {"optimizer"}:
        wrong = wrong or unmatched(parts[name], wanted[name])
    if wrong:
        raise Damaged(f"{folder} is damaged: {wrong}")
    state.load(said["step"], said["pending"], parts)


def _moments(state: TrainState, found: Mapping[str, Tensor]) -> str | None:
    """Return why the tensors in a checkpoint do not fit the optimizer; None if they fit."""
    wanted: dict[str, tuple[torch.dtype, torch.Size]] = {}
    first = 0
    for group in state.optimizer.param_groups:
        for name, scalar in _kept(state.optimizer, group).items():
            for i, weight in enumerate(group["params"], first):
                kind = (torch.float32, torch.Size()) if scalar else (weight.dtype, weight.shape)
                wanted[f"{i}.{name}"] = kind
        first += len(group["params"])
    if extra := sorted(found.keys() - wanted.keys()):
        return f"extra {extra[0]} in optimizer.safetensors"
    there = {name.split(".")[0] for name in found}
    if missing := sorted(k for k in wanted.keys() - found.keys() if k.split(".")[0] in there):
        return f"missing {missing[0]} in optimizer.safetensors"
    for name, tensor in found.items():
        if (tensor.dtype, tensor.shape) != wanted[name]:
            return f"{name} in optimizer.safetensors is {tensor.dtype} {(*tensor.shape,)}"
    return None


@torch.no_grad()
def _kept(optimizer: torch.optim.Optimizer, group: Mapping[str, Any]) -> dict[str, bool]:
    """Return {name: whether it is a scalar} for the values that an optimizer keeps for a weight.

    To find the names, this makes a step with one weight of the parameter group, and undoes it. The
    smallest weight that is not a scalar is used, because all values kept for a scalar weight are
    scalars. A scalar weight is used only if the group has no other weights.
    """
    weight = min(group["params"], key=lambda each: (not each.ndim, each.numel()))
    before, weight.grad = weight.clone(), torch.zeros_like(weight)
    optimizer.step()
    kept = {name: not value.ndim for name, value in optimizer.state.pop(weight).items()}
    weight.copy_(before)
    weight.grad = None
    return kept
