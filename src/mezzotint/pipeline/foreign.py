"""Read diffusers' models from their folders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mezzotint.config.sampling import SampleConfig
from mezzotint.data.values import Values
from mezzotint.errors import UserError, warn
from mezzotint.interop import diffusers
from mezzotint.interop.folder import unmatched
from mezzotint.interop.scheduler import Scheduler, read_scheduler
from mezzotint.interop.settings import Settings
from mezzotint.interop.vae import read_vae
from mezzotint.networks import DiTConfig, Network, UNet2DConfig, UNetConfig
from mezzotint.networks.kinds import build
from mezzotint.pipeline import exported
from mezzotint.pipeline.codec import Latents, Pixels
from mezzotint.pipeline.codecs import autoencoder, configured, latents
from mezzotint.pipeline.pipeline import Pipeline

SIDE = 32  # the side of images that is assumed if config.json has no sample_size
CONFIGS: dict[str, type] = {"unet": UNetConfig, "unet2d": UNet2DConfig, "dit": DiTConfig}


def read_pipeline(folder: Path, device: torch.device) -> Pipeline:
    """Read the pipeline in a diffusers folder. Warns of each assumption that had to be made.

    Raises UserError if mezzotint does not support the model or a setting.
    """
    model = diffusers.read(folder)
    own = exported.read(folder)
    try:
        found = model.reader.settings(model.config)
        net = _network(model, found, own.patch if own else 1)
        folding = own.vae_patch if own else 1
        codec = read_codec(model.codec, device, folding) if model.codec else None
        scheduler = read_scheduler(
            model.scheduler, found.channels, found.outputs, latents=codec is not None
        )
        shape, notes = _shape(model.config, found, codec)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, UserError):
            raise
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{folder} is not a network that mezzotint can read: {reason}") from None
    if not own:
        for note in (*model.notes, *scheduler.notes, *notes):
            warn(f"{folder}: {note}")
    facts = own or exported.Exported(
        prediction=scheduler.prediction,
        patch=1,
        vae_patch=1,
        classes=_classes(model.names, found.classes),
        learned_variance=scheduler.learned,
        defaults=_defaults(scheduler),
    )
    patch, (channels, height, width) = facts.patch, shape
    values = Values(alpha=facts.alpha)
    origin = "of the model that was exported" if own else "with the clipping of its scheduler"
    return Pipeline(
        net=net.to(device).eval().requires_grad_(False),
        schedule=scheduler.schedule,
        prediction=facts.prediction,
        shape=(channels // patch**2, height * patch, width * patch),
        classes=facts.classes,
        defaults=facts.defaults,
        codec=replace(codec, values=values) if codec else Pixels(values),
        learned_variance=facts.learned_variance,
        origin=(facts.defaults, origin),
    )


def read_codec(folder: Path, device: torch.device, patch: int = 1) -> Latents:
    """Read a diffusers autoencoder, from its own folder or a pipeline's folder, as a codec.

    If ``patch`` is above 1, squares of ``patch`` x ``patch`` pixels are folded into channels, and
    config.json states the number of channels after folding. Raises UserError if mezzotint does not
    support the autoencoder.
    """
    foreign = read_vae(folder)
    fields = foreign.fields | ({"patch": patch} if patch > 1 else {})
    channels = foreign.channels // patch**2
    vae = autoencoder(foreign.kind, fields, foreign.weights, str(folder), channels)
    std = 1 / torch.tensor(foreign.scale)
    return latents(vae, torch.tensor(foreign.shift), std, device)


def _network(model: diffusers.Model, found: Settings, patch: int) -> Network:
    """Build the network of a diffusers model, and load its weights."""
    outputs = found.outputs // patch**2 if found.outputs != found.channels else None
    fields = found.fields | ({"patch": patch} if patch > 1 else {})
    made = configured(CONFIGS[found.kind], fields, str(model.folder))
    net = build(made, found.channels // patch**2, found.classes, outputs)
    ours = model.reader.weights(model.weights(), found.flipped)
    if wrong := unmatched(ours, net.state_dict()):
        raise UserError(f"{model.folder}: {wrong}")
    net.load_state_dict(ours)
    return net


def _classes(names: dict[str, Any], count: int) -> tuple[str, ...]:
    """Return the names of the classes.

    A repeated name gets the index of the class appended. A missing name becomes "class" and the
    index.
    """
    given = [str(names.get(str(i), "class")) for i in range(count)]
    return tuple(
        name if given.count(name) == 1 and name != "class" else f"{name} {i}"
        for i, name in enumerate(given)  # a plain "0" would read as the name of a drawn digit
    )


def _shape(
    config: dict[str, Any], found: Settings, codec: Latents | None
) -> tuple[tuple[int, int, int], list[str]]:
    """Return the shape of the network's input, and notes about the shape and the classes."""
    notes = []
    size = config.get("sample_size")
    if size is None:
        size = SIDE
        notes.append(f"its config.json has no sample_size: {SIDE}x{SIDE} is assumed")
    height, width = (size, size) if isinstance(size, int) else tuple(map(int, size))
    if min(height, width) < 1:
        raise UserError(
            f"sample_size is {size} in config.json: set it to the height and width of the images"
        )
    if codec and codec.vae.config.latent != found.channels:
        raise UserError(
            f"the network takes {found.channels} channels, but the autoencoder's latents have "
            f"{codec.vae.config.latent}: give an autoencoder with {found.channels} "
            "channels"
        )
    if found.classes and found.kind != "dit":
        last = found.classes
        notes.append(
            f"its embedding is taken as {found.classes} classes and, in the last row, the null "
            f"class; if row {last} is a class as well, `guidance=0` samples that class: use only "
            "guidance 0 or 1 then"
        )
    return (found.channels, height, width), notes


def _defaults(scheduler: Scheduler) -> SampleConfig:
    """Return the default settings for sampling, with the clipping that a scheduler uses."""
    steps = min(SampleConfig().steps, len(scheduler.schedule))
    return SampleConfig(steps=steps, clipping=scheduler.clipping)
