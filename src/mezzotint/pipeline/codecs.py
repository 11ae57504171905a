"""The codec of a checkpoint: reading and writing its files."""

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
    """Read the codec of a latent diffusion model's checkpoint; UserError for a model of pixels."""
    said = facts(folder, "codec")["codec"]
    if said is None:
        raise UserError(f"{folder} holds a model of pixels: give an autoencoder")
    saved = load_file(folder / "codec.safetensors")
    weights = {k.removeprefix("vae."): v for k, v in saved.items() if k.startswith("vae.")}
    images = said.get("channels", 3)  # which is what older checkpoints have
    vae = autoencoder(said["kind"], said["config"], weights, str(folder), images)
    return latents(vae, saved["mean"], saved["std"], device)


def facts(folder: Path, *names: str) -> dict[str, Any]:
    """Read what a checkpoint's state.json says; UserError if one of ``names`` is missing."""
    found = json_object(folder / "state.json")
    if missing := [name for name in names if name not in found]:
        raise UserError(f"{folder}/state.json has no {missing[0]}: give another checkpoint")
    return found


def described(codec: Codec) -> dict[str, Any] | None:
    """Describe a codec for a checkpoint, besides its `tensors`; None for pixels."""
    if isinstance(codec, Pixels):
        return None
    vae: Any = codec.vae
    kind = next(kind for kind, (network, _) in VAES.items() if isinstance(vae, network))
    images = {} if vae.image_channels == 3 else {"channels": vae.image_channels}
    return {"kind": kind, "config": asdict(vae.config), **images}


def tensors(codec: Codec) -> dict[str, dict[str, Tensor]]:
    """Return the files of tensors that hold a checkpoint's codec; none for pixels."""
    if isinstance(codec, Pixels):
        return {}
    vae: Any = codec.vae
    weights = {f"vae.{name}": weight for name, weight in vae.state_dict().items()}
    return {"codec": {"mean": codec.mean, "std": codec.std, **weights}}


def autoencoder(
    kind: str, fields: dict[str, Any], weights: dict[str, Tensor], where: str, channels: int = 3
) -> Any:
    """Build one of the VAES with given weights; UserError, naming ``where``, if that fails."""
    try:
        network, config = VAES[kind]
        vae = network(configured(config, fields, where), channels)
        if wrong := unmatched(weights, vae.state_dict()):
            raise UserError(f"{where}: {wrong}")
        vae.load_state_dict(weights)
    except (KeyError, TypeError, RuntimeError) as error:
        raise UserError(f"{where} is not an autoencoder that mezzotint can read: {error}") from None
    return vae


def configured(config: Any, fields: dict[str, Any], where: str) -> Any:
    """Build a network's configuration; an error says where its fields were read."""
    try:
        return config(**fields)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def latents(vae: Any, mean: Tensor, std: Tensor, device: torch.device) -> Latents:
    """Return the codec of an autoencoder, ready to use."""
    vae = vae.to(device).eval().requires_grad_(False)
    return Latents(vae, mean.to(device), std.to(device))
