"""Read the folders that diffusers saves: a config.json and files of weights."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mezzotint.errors import Damaged, UserError
from mezzotint.storage.parse import content, parsed

WEIGHTS = "diffusion_pytorch_model.safetensors"
# A file of weights, or an index of several: safetensors or pickled, perhaps of a variant.
FILE = re.compile(r"diffusion_pytorch_model(?:\.(\w+))?\.(safetensors|bin)")
INDEX = re.compile(r"diffusion_pytorch_model\.(safetensors|bin)\.index(?:\.(\w+))?\.json")

SHOWN = 6  # the largest number of names in a message

# The names of attention weights in older folders.
OLD = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def json_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file. Raises Damaged if the file or the object is missing."""
    try:
        found = parsed(content(path))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise Damaged(f"{path} is missing or is not a JSON object: save or fetch it again")
    return found


def weights(folder: Path) -> dict[str, Tensor]:
    """Return the state dict of a network's folder, in float32.

    The weights may be in one file or in several with an index, as safetensors or pickled. No code
    in a pickle is run. A variant, such as fp16, is read only if there are no plain weights.

    Raises UserError if weights are missing or damaged, or if there are several variants but no
    plain weights.
    """
    file = _chosen(folder)
    names = [file.name]
    if file.suffix == ".json":
        places = json_object(file).get("weight_map")
        if not isinstance(places, dict) or not all(isinstance(n, str) for n in places.values()):
            raise UserError(f"{file} has no `weight_map`: fetch or save the model again")
        names = sorted(set(places.values()))
        if bad := [name for name in names if Path(name).name != name]:
            raise UserError(
                f"{file} names {bad[0]!r}, a file in another folder: save or download the model "
                "again"
            )
        if missing := [name for name in names if not (folder / name).exists()]:
            raise UserError(
                f"{folder} lacks {len(missing)} of its {len(names)} files of weights, such as "
                f"{missing[0]}: fetch or save it again"
            )
    state: dict[str, Tensor] = {}
    for name in names:
        state |= _tensors(folder / name)
    return {key: v.float() if v.is_floating_point() else v for key, v in state.items()}


def weight(state: Mapping[str, Tensor], key: str) -> Tensor:
    """Return one weight of a state dict. Raises UserError if the weight is missing."""
    if key not in state:
        raise UserError(f"the weight {key} is missing: save or fetch the model again")
    return state[key]


def modern(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict in which attention weights have the names that newer folders use."""
    old = re.compile(rf"(\.attentions\.\d+\.)({'|'.join(OLD)})(?=\.)")
    return {old.sub(lambda m: m[1] + OLD[m[2]], key): value for key, value in state.items()}


def renamed(key: str, names: Iterable[tuple[str, str]]) -> str:
    """Return ``key`` with the old names in it replaced by new names.

    ``names`` are pairs (old, new), which are applied in order. Only the first occurrence of an old
    name is replaced. An old name without a leading dot is replaced only at the start of the key.
    """
    for old, new in names:
        if old[0] == "." or key.startswith(old):
            key = key.replace(old, new, 1)
    return key


def unmatched(ours: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str | None:
    """Return how two state dicts differ in names, shapes or types, in words; None if they do not.

    Two types count as different only if one is a floating-point type and the other is not.

    Example:
        ``if wrong := unmatched(read, net.state_dict()): raise UserError(f"{folder}: {wrong}")``
    """
    if keys := sorted(set(ours) ^ set(wanted)):
        return f"weights are missing or superfluous: {_first(keys)}"
    other = [k for k, v in wanted.items() if ours[k].shape != v.shape]
    shapes = [f"{k} {(*ours[k].shape,)} instead of {(*wanted[k].shape,)}" for k in other]
    if shapes:
        return f"the shapes of weights contradict config.json: {_first(shapes)}"
    kinds = [k for k, v in wanted.items() if ours[k].is_floating_point() != v.is_floating_point()]
    return f"weights have another type of numbers: {_first(kinds)}" if kinds else None


def _first(names: list[str]) -> str:
    """Return the first few names as text, and the number of the names that are left out."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _chosen(folder: Path) -> Path:
    """Return the file of a network's weights, or the index file if there are several files."""
    found = []  # (is a variant, is pickled, is an index), the variant, the file
    for path in sorted(folder.iterdir()):
        if match := FILE.fullmatch(path.name):
            variant, kind = match.groups()
        elif match := INDEX.fullmatch(path.name):
            kind, variant = match.groups()
        else:
            continue
        order = (variant is not None, kind == "bin", path.suffix == ".json")
        found.append((order, variant, path))
    if not found:
        raise UserError(
            f"{folder} has no {WEIGHTS}, whole or in parts, and no .bin file: save the model with "
            "save_pretrained"
        )
    order, _, file = min(found)
    if order[0] and len(variants := sorted({str(variant) for _, variant, _ in found})) > 1:
        raise UserError(
            f"{folder} holds the weights only as the variants {', '.join(variants)}: keep the "
            "files of one variant"
        )
    return file


def _tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of one file of weights, in safetensors or pickled."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise UserError(f"{path} is damaged ({error}): fetch or save it again") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path} is damaged, or holds more than tensors ({reason}): save its tensors as "
            "safetensors"
        ) from None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise UserError(f"{path} holds more than tensors: save its tensors as safetensors")
    return state
