"""What all folders that diffusers saves have in common: a config.json and a file of weights."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mezzotint.errors import UserError

WEIGHTS = "diffusion_pytorch_model.safetensors"

# The attention's weights, as older folders name them.
OLD = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def json_object(path: Path) -> dict[str, Any]:
    """The object of a JSON file; UserError where there is none."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict):
        raise UserError(f"{path} is missing, or no JSON object")
    return content


def saved_by_diffusers(folder: Path) -> bool:
    """Whether a folder is a pipeline or a network of diffusers'; UserError for a damaged config."""
    config = folder / "config.json"
    pipeline = (folder / "model_index.json").exists()
    return pipeline or (config.exists() and "_class_name" in json_object(config))


def weights(folder: Path) -> dict[str, Tensor]:
    """The state dict of a network's folder; UserError where it is missing or damaged."""
    path = folder / WEIGHTS
    if not path.exists():
        raise UserError(f"{folder} has no {path.name}; save it with safe_serialization=True")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path} is damaged ({error}): fetch or save it again") from None


def weight(state: Mapping[str, Tensor], key: str) -> Tensor:
    """One weight of a state dict; UserError where it is missing."""
    if key not in state:
        raise UserError(f"a weight is missing: {key}")
    return state[key]


def modern(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict with the attention's weights under the names that newer folders have."""
    old = re.compile(rf"(\.attentions\.\d+\.)({'|'.join(OLD)})(?=\.)")
    return {old.sub(lambda m: m[1] + OLD[m[2]], key): value for key, value in state.items()}


def unmatched(ours: Iterable[str], wanted: Iterable[str]) -> str | None:
    """A line of every key that is in one of both only, or None: of what was read, and a network's.

    ``if wrong := unmatched(read, net.state_dict()): raise UserError(f"{folder}: {wrong}")``
    """
    keys = sorted(set(ours) ^ set(wanted))
    return f"missing or extra weights: {', '.join(keys)}" if keys else None
