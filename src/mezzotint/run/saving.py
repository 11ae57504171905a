"""The state of a training, written to a checkpoint and read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from safetensors.torch import load_file
from torch import Tensor

from mezzotint.networks.custom import Custom, fill
from mezzotint.storage import checkpoint
from mezzotint.trainer.posthoc import GAMMAS
from mezzotint.trainer.state import TrainState

Facts: TypeAlias = dict[str, Any]
Tensors: TypeAlias = Mapping[str, Mapping[str, Tensor]]


def save(
    state: TrainState, folder: Path, config: Facts, facts: Facts, keep: int, more: Tensors
) -> Path:
    """Write ``folder/step-N``: the state, the configuration, and ``facts`` about the data.

    Args:
        state: Everything that training changes.
        folder: The run's folder of checkpoints.
        config: The content of config.json.
        facts: What describes the data that the model is trained on.
        keep: How many checkpoints to keep.
        more: What a finished model needs besides, a file for each name.

    Raises:
        UserError: If a figure of the last steps is not finite; nothing is written then.
    """
    said = {"step": state.step, "pending": state.read(), **facts}
    tensors = {**state.tensors(), **more}
    return checkpoint.save(folder, state.step, tensors, {"config": config, "state": said}, keep)


def save_average(
    state: TrainState, final: Path, config: Facts, facts: Facts, more: Tensors
) -> Path:
    """Write the averaged weights only: enough to sample from, not to train on."""
    tensors = {"ema": state.ema.module.state_dict(), **more}
    said = {"step": state.step, **facts}
    return checkpoint.write(final, tensors, {"config": config, "state": said})


def snapshot(state: TrainState, folder: Path) -> Path:
    """Write ``folder/step-N``: the trained weights of the averages that `run.averages` combines.

    Raises UserError as `save` does.
    """
    state.read()
    tensors = state.snapshots()
    said = {"step": state.step, "gammas": {name: GAMMAS[name] for name in tensors}}
    # Keep all of them: there is at most one per step.
    return checkpoint.save(folder, state.step, tensors, {"state": said}, keep=state.step)


def restore(state: TrainState, folder: Path) -> None:
    """Restore a state from a checkpoint.

    Raises UserError if a user's own network is not the one that was saved.
    """
    said = json.loads((folder / "state.json").read_text())
    parts = {name: load_file(folder / f"{name}.safetensors") for name in state.tensors()}
    if isinstance(state.net, Custom):
        fill(state.net, parts["net"], folder)
    state.load(said["step"], said["pending"], parts)
