"""The codec of a checkpoint: read from its files, and what is written into them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from mezzotint.errors import UserError
from mezzotint.interop.folder import json_object, unmatched
from mezzotint.networks import VAE, TinyVAE, TinyVAEConfig, VAEConfig
from mezzotint.pipeline.codec import Codec, Latents, Pixels

VAES: dict[str, tuple[Any, Any]] = {"kl": (VAE, VAEConfig), "tiny": (TinyVAE, TinyVAEConfig)}


def codec_of(folder: Path, device: torch.device) -> Latents:
    """The codec in a latent diffusion model's checkpoint; UserError for one of pixels."""
    said = facts(folder, "codec")["codec"]
    if said is None:
        raise UserError(f"{folder} is of a model of pixels: give an autoencoder")
    saved = load_file(folder / "codec.safetensors")
    weights = {k.removeprefix("vae."): v for k, v in saved.items() if k.startswith("vae.")}
    images = said.get("channels", 3)  # which is what older checkpoints have
    vae = autoencoder(said["kind"], said["config"], weights, str(folder), images)
    return latents(vae, saved["mean"], saved["std"], device)


def facts(folder: Path, *names: str) -> dict[str, Any]:
    """What a checkpoint says of its training; UserError where one of these names is missing."""
    told = json_object(folder / "state.json")
    if missing := [name for name in names if name not in told]:
        raise UserError(f"{folder}/state.json has no {missing[0]}: give another checkpoint")
    return told


def described(codec: Codec) -> dict[str, Any] | None:
    """What a checkpoint says of its codec, beside `tensors`; None of pixels."""
    if isinstance(codec, Pixels):
        return None
    vae: Any = codec.vae
    kind = next(kind for kind, (network, _) in VAES.items() if isinstance(vae, network))
    images = {} if vae.image_channels == 3 else {"channels": vae.image_channels}
    return {"kind": kind, "config": asdict(vae.config), **images}


def tensors(codec: Codec) -> dict[str, dict[str, Tensor]]:
    """A checkpoint's files of tensors that make its codec; none of pixels."""
    if isinstance(codec, Pixels):
        return {}
    vae: Any = codec.vae
    weights = {f"vae.{name}": weight for name, weight in vae.state_dict().items()}
    return {"codec": {"mean": codec.mean, "std": codec.std, **weights}}


def autoencoder(
    kind: str, fields: dict[str, Any], weights: dict[str, Tensor], where: str, channels: int = 3
) -> Any:
    """An autoencoder of one of the VAES; UserError, naming ``where``, for what makes none."""
    try:
        network, config = VAES[kind]
        vae = network(configured(config, fields, where), channels)
        if wrong := unmatched(weights, vae.state_dict()):
            raise UserError(f"{where}: {wrong}")
        vae.load_state_dict(weights)
    except (KeyError, TypeError, RuntimeError) as error:
        raise UserError(f"{where} is no autoencoder that can be read: {error}") from None
    return vae


def configured(config: Any, fields: dict[str, Any], where: str) -> Any:
    """A network's configuration; UserError that names where its fields were read."""
    try:
        return config(**fields)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def latents(vae: Any, mean: Tensor, std: Tensor, device: torch.device) -> Latents:
    """The codec of an autoencoder, ready to use."""
    vae = vae.to(device).eval().requires_grad_(False)
    return Latents(vae, mean.to(device), std.to(device))
