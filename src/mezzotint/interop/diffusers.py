"""Find a network, its scheduler and its autoencoder in a folder that diffusers wrote.

```
PIPELINE/model_index.json, unet/, scheduler/, vae/     written by DiffusionPipeline.save_pretrained
FOLDER/model_index.json, config.json, scheduler_config.json, weights     an older, flat pipeline
PIPELINE/model_index.json, transformer/, ...           a pipeline with a DiT
NETWORK/config.json, weights                           a network, alone or in a pipeline
OUT/checkpoint-N/unet, OUT/checkpoint-N/unet_ema       written by diffusers' example trainings
```
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mezzotint.errors import UserError
from mezzotint.interop.folder import json_object, weights
from mezzotint.interop.networks import PARTS, READERS, Reader

INDEX, CONFIG, SCHEDULER = "model_index.json", "config.json", "scheduler_config.json"
UNETS = ("unet_ema", "unet")  # in a checkpoint; the averaged weights are better
CODECS = ("vae", "vqvae")
NAMES = "id2label"  # the names of the classes, in the index of a DiTPipeline


@dataclass(frozen=True)
class Model:
    """The parts found in a folder.

    Attributes:
        reader: The reader of the network.
        folder: The folder of the network.
        config: The network's settings.
        scheduler: The scheduler's settings; None if there are none.
        codec: The folder of the autoencoder in whose latents the network works; None for pixels.
        names: A dict from the index of each class, as text, to its name.
        notes: A line for each choice that was made between several parts of the same kind.
    """

    reader: Reader
    folder: Path
    config: dict[str, Any]
    scheduler: dict[str, Any] | None
    codec: Path | None
    names: dict[str, Any]
    notes: tuple[str, ...]

    def weights(self) -> dict[str, Tensor]:
        """Return the network's state dict. Raises UserError if its file is missing or damaged."""
        return weights(self.folder)


def saved_by_diffusers(folder: Path) -> bool:
    """Return whether diffusers wrote a folder: a pipeline, a network, or a training's output.

    Raises UserError for a damaged config.
    """
    config = folder / CONFIG
    if (folder / INDEX).exists() or (config.exists() and "_class_name" in json_object(config)):
        return True
    return not config.exists() and bool(_in_checkpoint(folder) or _checkpoints(folder))


def read(folder: Path) -> Model:
    """Return the network in a folder, with the scheduler and the autoencoder of its pipeline.

    The folder has one of the layouts at the top of this file. Raises UserError if no network can be
    read, or if the pipeline has parts besides network, scheduler and autoencoder.
    """
    network, notes = _network(folder)
    around = _around(network)
    pipeline = next((place for place in around if (place / INDEX).exists()), None)
    index = json_object(pipeline / INDEX) if pipeline else {}
    if pipeline:
        _known(pipeline, index)
    config = json_object(network / CONFIG)
    inside = [_class(index, part) for part in PARTS if _part(index, part)]
    name = config.get("_class_name", inside[0] if inside else None)
    if name not in READERS:
        raise UserError(
            f"{network} holds {name or 'a network of no stated class'}: give a UNet2DModel or a "
            "DiTTransformer2DModel"
        )
    codec = next((pipeline / name for name in CODECS if pipeline and _part(index, name)), None)
    names = found if isinstance(found := index.get(NAMES), dict) else {}
    scheduler = _scheduler(around, index)
    return Model(READERS[name], network, config, scheduler, codec, names, tuple(notes))


def _network(folder: Path) -> tuple[Path, list[str]]:
    """Return the folder of the network, and a note about the choice if there are several."""
    if (folder / INDEX).exists() or (folder / CONFIG).exists():
        inside = [folder / part for part in PARTS if (folder / part).is_dir()]
        return (inside[0] if (folder / INDEX).exists() and inside else folder), []
    notes = []
    if not (found := _in_checkpoint(folder)):
        every = _checkpoints(folder)
        folder, found = every[-1], _in_checkpoint(every[-1])
        if len(every) > 1:
            notes = [f"there are {len(every)} checkpoints: the newest, {folder}, is used"]
    if len(found) > 1:
        notes.append(
            f"the averaged weights in {found[0]} are used, not the last weights in {found[1]}"
        )
    return found[0], notes


def _in_checkpoint(folder: Path) -> list[Path]:
    """Return the U-Nets in a checkpoint of diffusers; averaged weights come first."""
    return [folder / name for name in UNETS if (folder / name / CONFIG).exists()]


def _checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints that hold a U-Net, in the folder of a training; the newest last."""
    found = [path for path in folder.glob("checkpoint-*") if _number(path) and _in_checkpoint(path)]
    return sorted(found, key=lambda path: int(_number(path)))


def _number(path: Path) -> str:
    match = re.fullmatch(r"checkpoint-(\d+)", path.name)
    return match[1] if match else ""


def _around(network: Path) -> list[Path]:
    """Return the folders that may hold the other parts of a network's pipeline, nearest first."""
    network = network.absolute()
    places = [network]
    if not (network / INDEX).exists():
        places.append(network.parent)
        if _number(network.parent):
            places.append(network.parent.parent)
    return places


def _scheduler(around: list[Path], index: dict[str, Any]) -> dict[str, Any] | None:
    files = [place / name / SCHEDULER for place in around for name in ("scheduler", "")]
    if found := next((file for file in files if file.exists()), None):
        return json_object(found)
    inside = index.get("scheduler")
    return inside if isinstance(inside, dict) else None


def _part(index: dict[str, Any], name: str) -> bool:
    """Return whether a pipeline's model_index.json (``index``) lists the part ``name``.

    A part is listed with ``[library, class]`` or with its settings. ``[null, null]`` means that the
    pipeline lacks the part.
    """
    said = index.get(name)
    return bool(said) and (isinstance(said, dict) or (isinstance(said, list) and any(said)))


def _class(index: dict[str, Any], name: str) -> str | None:
    """Return the class that a pipeline's model_index.json lists for a part, or None."""
    said = index.get(name)
    return said[1] if isinstance(said, list) and len(said) == 2 else None


def _known(pipeline: Path, index: dict[str, Any]) -> None:
    """Raise UserError for a pipeline with parts besides network, scheduler and autoencoder."""
    parts = [name for name in index if not name.startswith("_") and _part(index, name)]
    if strange := [name for name in parts if name not in (*PARTS, "scheduler", *CODECS, NAMES)]:
        raise UserError(
            f"{pipeline} is a {index.get('_class_name')} with {', '.join(strange)}: give a "
            "pipeline that has only a network, a scheduler and perhaps an autoencoder"
        )
