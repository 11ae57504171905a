"""From what lies on the disk to a finished model: a run, a checkpoint, a diffusers folder."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from mezzotint import experiment
from mezzotint.errors import UserError
from mezzotint.experiment import compute_dtype
from mezzotint.interop import diffusers
from mezzotint.nets import UNet, UNetConfig
from mezzotint.pipeline import Pipeline
from mezzotint.training import checkpoint


def is_model(path: Path) -> bool:
    """Whether a path is something that `load` may make sense of."""
    marks = (checkpoint.MANIFEST, "checkpoints", "model_index.json", "config.json")
    return any((path / mark).exists() for mark in marks)


def load(
    path: str | Path, device: str | torch.device | None = None, precision: str = "float32"
) -> Pipeline:
    """Load a run (its newest whole checkpoint), a checkpoint folder, or a diffusers folder.

    ``device``: a GPU where there is one, else the CPU. ``precision``: "float32", "bf16"
    or "auto" (bf16 where the hardware has it). Every file of a checkpoint is checked against its
    SHA-256. Raises UserError for a folder that is none of these, or damaged.
    """
    folder = Path(path)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    compute_dtype(precision, device)  # refused before anything is read
    if not folder.is_dir():
        raise UserError(
            f"there is no folder {folder}: give a run, a checkpoint or a model's folder"
        )
    if (folder / checkpoint.MANIFEST).exists():
        checkpoint.verify(folder)
        return _from_checkpoint(folder, folder, device).in_precision(precision)
    if (folder / "checkpoints").is_dir():
        experiment.read(folder / "config.json")  # a run from the future is not to be guessed at
        newest = checkpoint.newest(folder / "checkpoints", warnings.warn)
        if newest is not None:
            return _from_checkpoint(newest, folder, device).in_precision(precision)
    if (folder / "model_index.json").exists() or diffusers.is_unet(folder):
        return _from_diffusers(folder, device).in_precision(precision)
    if (folder / "config.json").exists():
        raise UserError(f"{folder} has no checkpoint yet: train it on with --resume")
    raise UserError(f"{folder} is no run, checkpoint or diffusers folder")


def _from_checkpoint(folder: Path, home: Path, device: torch.device) -> Pipeline:
    config = experiment.read(folder / "config.json")
    facts = json.loads((folder / "state.json").read_text())
    channels, height, width = facts["shape"]
    net = config.network(channels, len(facts["classes"]))
    net.load_state_dict(load_file(folder / "ema.safetensors"))
    return Pipeline(
        net=net.to(device).eval(),
        schedule=config.noise.build(),
        prediction=config.noise.prediction,
        shape=(channels, height, width),
        classes=tuple(facts["classes"]),
        defaults=config.sampling(facts["classes"]),
        colour=facts["colour"],
        data=facts["data"],
        home=home,
        learned_variance=config.noise.learn_variance,
    )


def _from_diffusers(folder: Path, device: torch.device) -> Pipeline:
    config, scheduler, weights = diffusers.read(folder)
    try:
        fields, channels, classes = diffusers.unet_settings(config)
        net = UNet(UNetConfig(**fields), channels, classes)
        ours = diffusers.unet_weights(weights)
        if wrong := set(ours) ^ set(net.state_dict()):
            raise UserError(f"{folder}: missing or extra weights: {', '.join(sorted(wrong))}")
        net.load_state_dict(ours)
        schedule, prediction = diffusers.schedule(scheduler)
    except (KeyError, TypeError, RuntimeError, ValidationError) as error:
        raise UserError(f"{folder} is no UNet2DModel that can be read: {error}") from None
    if classes:
        told = f"{folder}: taken as {classes} classes and, in the last row, the null class"
        warnings.warn(told, stacklevel=3)
    size = config.get("sample_size") or 32
    height, width = (size, size) if isinstance(size, int) else size
    names = tuple(str(i) for i in range(classes))
    return Pipeline(net.to(device).eval(), schedule, prediction, (channels, height, width), names)
