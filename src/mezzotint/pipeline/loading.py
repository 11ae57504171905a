"""Load finished models from a run, a checkpoint or a diffusers folder, or by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from mezzotint import config as configuration
from mezzotint import devices
from mezzotint.config.experiment import Autoencoder
from mezzotint.data.values import from_json
from mezzotint.errors import Damaged, UserError, warn
from mezzotint.interop.diffusers import saved_by_diffusers
from mezzotint.interop.folder import json_object, unmatched
from mezzotint.networks import Network
from mezzotint.networks.conditions import every
from mezzotint.networks.custom import Custom, fill
from mezzotint.networks.kinds import build
from mezzotint.networks.passing import passed_again
from mezzotint.networks.precision import compute_dtype
from mezzotint.networks.record import CustomConfig
from mezzotint.pipeline import few_step, saved, shipped, tuned
from mezzotint.pipeline.codec import Latents, Pixels
from mezzotint.pipeline.codecs import (
    autoencoder,
    codec_of,
    conditions_of,
    facts,
    latents,
    scale,
)
from mezzotint.pipeline.conditioning import unlearned
from mezzotint.pipeline.fetching import CODEC, HUB, MODEL, fetched
from mezzotint.pipeline.foreign import read_codec, read_pipeline
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.storage import checkpoint
from mezzotint.storage.files import as_path

T = TypeVar("T")
FOREIGN_VAES = ("AutoencoderKL", "AutoencoderTiny")


def is_model(path: str | Path) -> bool:
    """Return whether a path, a shipped name or ``hub:OWNER/NAME`` looks like a model for `load`.

    A model of the hub is fetched; the answer is False if the hub has no such model.
    """
    if shipped.find(path) is not None:
        return True
    try:
        folder = locate(path)
    except UserError:
        return False
    marks = (checkpoint.MANIFEST, "checkpoints", "model_index.json", "config.json")
    return any((folder / mark).exists() for mark in marks) or saved_by_diffusers(folder)


def is_autoencoder(path: str | Path) -> bool:
    """Return whether a run, checkpoint, diffusers folder or hub model is an autoencoder.

    The config.json of the folder decides. If this file cannot be read, the answer is False.
    """
    try:
        config = json_object(_found(path) / "config.json")
    except UserError:
        return False
    return config.get("kind") == "autoencoder" or config.get("_class_name") in FOREIGN_VAES


def load(
    path: str | Path,
    device: str | torch.device | None = None,
    precision: str = "auto",
    recommended: bool = True,
    net: Any = None,
) -> Pipeline:
    """Load a finished model.

    ```python
    images = mz.load("runs/cifar10-ddpm").sample(16, labels=3, guidance=2.0, seed=0)
    ```

    Every file of a checkpoint is checked against its SHA-256.

    Args:
        path: One of these: a run, of which the newest undamaged checkpoint is used; a checkpoint; a
            folder that `Pipeline.save` wrote; a diffusers folder (a pipeline, a network, or
            the output of a diffusers training script); ``hub:OWNER/NAME``, a diffusers folder on
            the Hugging Face Hub; or, if no such path exists, the name of a shipped model.
        device: The device to load the model to. None means the device that `use_device` chose. If
            `use_device` was not called, that is an NVIDIA GPU if there is one, else the CPU.
        precision: "float32", "bf16", or "auto": bf16 on hardware that computes in bf16, else
            float32.
        recommended: Whether the best settings of a sweep of the run become the default settings for
            sampling. If False, or if the run was not swept, the defaults come from the run's
            config.json.
        net: Your own network, if the model was trained with one: the module or its class. A class
            is called with the arguments that the run recorded. You can leave it out if you passed
            it earlier in this process.

    Returns:
        The model, in evaluation mode; its weights require no gradient.

    Raises:
        UserError: If there is no model at that path, a file is damaged, the model is an autoencoder
            (use `load_codec`), ``net`` is missing or not the network that was trained, or there is
            no such device or precision.
    """
    folder, device = locate(path), devices.chosen(device)
    compute_dtype(precision, device)  # refuses a bad value before anything is read
    if pipe := _read(folder, lambda found: _pipeline(found, folder, device, net)):
        if recommended:
            pipe = tuned.apply(pipe, folder)
        if shipped.is_shipped(folder):
            pipe = replace(pipe, home=None)  # its optimised grids go into the cache
        return pipe.in_precision(precision)
    if saved_by_diffusers(folder):
        if net is not None:
            raise _not_own(folder)
        if is_autoencoder(folder):
            raise _no_images(folder)
        with devices.loading():
            return read_pipeline(folder, device).in_precision(precision)
    raise _nothing(folder)


def locate(path: str | Path) -> Path:
    """Return the folder at a path, or the folder of a shipped or hub model.

    Raises UserError if none of these exists.
    """
    return _found(path, MODEL)


def load_codec(
    path: str | Path, device: str | torch.device | None = None, precision: str = "auto"
) -> Latents:
    """Load an autoencoder as a codec, which converts images to latents and back.

    Args:
        path: A run of an autoencoder, its checkpoint, a latent diffusion model, or a diffusers
            folder or ``hub:OWNER/NAME`` that holds an AutoencoderKL, an AutoencoderTiny or a
            pipeline with one of them.
        device: The device to load the codec to. None means the device that `use_device` chose. If
            `use_device` was not called, that is an NVIDIA GPU if there is one, else the CPU.
        precision: "float32", "bf16", or "auto": bf16 on hardware that computes in bf16, else
            float32.

    Returns:
        The codec. Its ``encode`` takes images (B, C, H, W), uint8 unless the autoencoder was
            trained on another type. Its ``decode`` takes latents (B, c, H / f, W / f), where f is
            the factor by which the autoencoder shrinks height and width.

    Raises:
        UserError: If there is no autoencoder at that path, a file is damaged, or there is no such
            device or precision.
    """
    device = devices.chosen(device)
    dtype = compute_dtype(precision, device)
    folder = _found(path)
    if found := _read(folder, lambda found: _codec(found, device)):
        codec = found
    elif saved_by_diffusers(folder):
        with devices.loading():
            codec = read_codec(folder, device)
    else:
        raise _nothing(folder)
    return codec if dtype == torch.float32 else codec.in_precision(dtype)


def _codec(found: Path, device: torch.device) -> Latents:
    """Return the codec in a checkpoint of an autoencoder or of a latent diffusion model."""
    config = None if saved.is_saved(found) else configuration.read(found / "config.json")
    if not isinstance(config, Autoencoder):
        return codec_of(found, device)
    saved_scale, weights = (checkpoint.tensors(found, name) for name in ("codec", "ema"))
    known = facts(found, "shape")
    channels, height, width = known["shape"]
    vae = autoencoder("kl", asdict(config.net), weights, str(found), channels)
    codec = latents(vae, *scale(saved_scale, vae, found), device, from_json(known))
    return codec.of_size(height, width)


def _found(path: str | Path, places: tuple[str, ...] = CODEC) -> Path:
    """Return the folder at a path, or the folder of a shipped model or of ``hub:OWNER/NAME``.

    ``places`` are the folders to download from the hub. Raises UserError if there is no folder.
    """
    folder = as_path(path, "path")
    if str(path).startswith(HUB):
        return fetched(str(path).removeprefix(HUB), places)
    folder = shipped.find(path) or folder
    if not folder.is_dir() and str(path) in shipped.OUTSIDE:
        raise UserError(
            f"{path} is in mezzotint's repository, not in the package: give its folder in a "
            f"checkout of the repository, models/{path}"
        )
    if not folder.is_dir():
        names = ", ".join(shipped.names())
        raise UserError(
            f"there is no folder {folder}: give a run, a checkpoint or a model's folder"
            + (f"; shipped models: {names}" if names else "")
        )
    return folder


def _read(folder: Path, read: Callable[[Path], T]) -> T | None:
    """Call ``read`` on a checkpoint, or on the newest undamaged checkpoint of a run.

    Return the result of ``read``; None for a folder that is neither a checkpoint nor a run.
    """
    if (folder / checkpoint.MANIFEST).exists() or shipped.is_shipped(folder):
        shipped.verify(folder)
        with devices.loading():
            return read(folder)
    if (folder / "checkpoints").is_dir():
        configuration.read(folder / "config.json")  # refuse a run of a newer version
        with devices.loading():
            return checkpoint.usable(folder / "checkpoints", read, warn)
    return None


def _nothing(folder: Path) -> UserError:
    """Return the error for a folder in which there is no model."""
    if (folder / "config.json").exists():
        return UserError(f"{folder} has no checkpoint yet: continue training with `resume=True`")
    if str(folder) in shipped.names():
        return UserError(
            f"{folder} is a folder but not a model, and hides the shipped model of the same name: "
            "rename it, or work in another folder"
        )
    return UserError(f"{folder} is not a model: give a run, a checkpoint or a diffusers folder")


def _no_images(folder: Path) -> UserError:
    """Return the error for an autoencoder that is given where a diffusion model is needed."""
    return UserError(
        f"{folder} is an autoencoder, which makes no images from noise: train a diffusion model on "
        f"its latents with `vae={folder}`"
    )


def _not_own(folder: Path) -> UserError:
    """Return the error for a ``net`` that is passed although the network is mezzotint's own."""
    return UserError(f"{folder} was not trained with a user's own network: leave out `net`")


def _net(folder: Path, config: Any, net: Any) -> Any:
    """Return the configuration from which a model's network is built.

    ``config`` is the saved configuration, which is enough for a network of mezzotint. ``net`` is
    the user's own network, or None. If ``net`` is given, the result is a new record of ``net``, and
    `passed` keeps ``net`` in memory. Raises UserError if ``net`` is given for a network of
    mezzotint.
    """
    if isinstance(config, CustomConfig):
        return config if net is None else passed_again(config, net)
    if net is not None:
        raise _not_own(folder)
    return config


def _ready(folder: Path, net: Network, device: torch.device) -> Network:
    """Return a network with the averaged weights of a checkpoint, ready to sample."""
    weights = checkpoint.tensors(folder, "ema")
    if isinstance(net, Custom):
        fill(net, weights, folder)
    elif wrong := unmatched(weights, net.state_dict()):
        raise Damaged(f"{folder}: {wrong}")
    else:
        net.load_state_dict(weights)
    return net.to(device).eval().requires_grad_(False)


def _pipeline(found: Path, home: Path, device: torch.device, own: Any) -> Pipeline:
    """Read the pipeline in a saved model or a checkpoint.

    ``home`` is the folder that was given to `load`: the checkpoint itself, or its run.
    """
    if saved.is_saved(found):
        return _from_saved(found, device, own)
    return _from_checkpoint(found, home, device, own)


def _from_saved(folder: Path, device: torch.device, own: Any) -> Pipeline:
    """Read the pipeline in a folder that `Pipeline.save` wrote."""
    known, schedule = saved.read(folder)
    state = facts(folder, "shape", "classes", "codec", "colour", "data")
    shape, classes = tuple(state["shape"]), tuple(state["classes"])
    outputs = 2 * shape[0] if known.learned_variance else None
    more = conditions_of(folder)
    net = build(
        *(_net(folder, known.net, own), shape[0], len(classes), outputs, known.told),
        more["conditions"],
    )
    return Pipeline(
        **more,
        net=_ready(folder, net, device),
        schedule=schedule,
        prediction=known.prediction,
        shape=shape,
        classes=classes,
        defaults=known.defaults,
        codec=codec_of(folder, device) if state["codec"] else Pixels(from_json(state)),
        colour=state["colour"],
        data=state["data"],
        home=folder,
        learned_variance=known.learned_variance,
        origin=(known.defaults, known.origin),
        few_step=known.few_step,
    )


def _from_checkpoint(folder: Path, home: Path, device: torch.device, own: Any) -> Pipeline:
    """Read the pipeline in a checkpoint of a run."""
    config = configuration.read(folder / "config.json")
    if isinstance(config, Autoencoder):
        raise _no_images(home)
    state = facts(folder, "shape", "classes", "codec", "colour", "data")
    channels, height, width = state["shape"]
    config = replace(config, net=_net(folder, config.net, own))
    more = conditions_of(folder)
    defaults = config.sampling([*state["classes"], *more["conditions"]])
    net = config.network(channels, len(state["classes"]), more["conditions"])
    if note := unlearned(config.objective, every(state["classes"], more["conditions"])):
        warn(f"{home}: {note}")
    return Pipeline(
        **more,
        net=_ready(folder, net, device),
        schedule=config.noise.build(),
        prediction=config.noise.prediction,
        shape=(channels, height, width),
        classes=tuple(state["classes"]),
        defaults=defaults,
        codec=codec_of(folder, device) if state["codec"] else Pixels(from_json(state)),
        colour=state["colour"],
        data=state["data"],
        home=home,
        learned_variance=config.noise.learn_variance,
        origin=(defaults, f"of the recipe {config.recipe}"),
        few_step=few_step.made_for(config.objective),
    )
