"""Read and write the codec and the conditions of a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import FiniteFloat, NonNegativeInt, PositiveInt, TypeAdapter, ValidationError
from torch import Tensor

from mezzotint.data.values import EIGHT_BIT, Values, from_json
from mezzotint.errors import Damaged, UserError
from mezzotint.interop.folder import json_object, unmatched
from mezzotint.networks import VAE, TinyVAE, TinyVAEConfig, VAEConfig
from mezzotint.networks.conditions import Condition, Given
from mezzotint.networks.conditions import read as read_conditions
from mezzotint.pipeline.codec import Codec, Latents, Pixels
from mezzotint.storage import checkpoint
from mezzotint.strict import strict

VAES: dict[str, tuple[Any, Any]] = {"kl": (VAE, VAEConfig), "tiny": (TinyVAE, TinyVAEConfig)}


def codec_of(folder: Path, device: torch.device) -> Latents:
    """Read the codec in a checkpoint of a latent model. Raises UserError for a pixel model."""
    known = facts(folder, "codec")
    said = known["codec"]
    if said is None:
        raise UserError(
            f"{folder} is a diffusion model of pixels, without an autoencoder: give an autoencoder"
        )
    saved = checkpoint.tensors(folder, "codec")
    weights = {k.removeprefix("vae."): v for k, v in saved.items() if k.startswith("vae.")}
    images = said.get("channels", 3)  # older checkpoints name no channels, and are for RGB images
    vae = autoencoder(said["kind"], said["config"], weights, str(folder), images)
    codec = latents(vae, *scale(saved, vae, folder), device, from_json(known))
    codec = codec.of_size(*said["size"]) if said.get("size") else codec
    return replace(codec, tile=said.get("tile", 0))


def scale(saved: Mapping[str, Tensor], vae: Any, folder: Path) -> tuple[Tensor, Tensor]:
    """Return the saved mean and standard deviation of each channel of the latents.

    Raises Damaged if they are missing or do not fit the autoencoder ``vae``.
    """
    shape = (vae.config.latent,)
    found = [saved.get(name, torch.empty(0)) for name in ("mean", "std")]
    if any(each.shape != shape or not each.is_floating_point() for each in found):
        raise Damaged(f"{folder} is damaged: codec.safetensors lacks the scale of the latents")
    return found[0], found[1]


@strict
class SavedCodec:
    """The entry in state.json that describes the autoencoder of a codec."""

    kind: str
    config: dict[str, Any]
    channels: PositiveInt = 3
    size: tuple[PositiveInt, PositiveInt] | None = None
    tile: NonNegativeInt = 0


FACTS: dict[str, TypeAdapter[Any]] = {
    "step": TypeAdapter(NonNegativeInt),
    "processes": TypeAdapter(PositiveInt),
    "pending": TypeAdapter(list[dict[str, FiniteFloat]]),
    "gammas": TypeAdapter(dict[str, FiniteFloat]),
    "shape": TypeAdapter(tuple[PositiveInt, PositiveInt, PositiveInt]),
    "classes": TypeAdapter(tuple[str, ...]),
    "codec": TypeAdapter(SavedCodec | None),
    "colour": TypeAdapter(dict[Literal["mean", "std"], list[FiniteFloat]] | None),
    "data": TypeAdapter(str | None),
    "training_images": TypeAdapter(PositiveInt),
    "length": TypeAdapter(FiniteFloat),
    "values": TypeAdapter(Values),
}
"""The possible entries of state.json, and their types."""


def facts(folder: Path, *names: str) -> dict[str, Any]:
    """Read the entries of a checkpoint's state.json, such as shape, classes and codec.

    Raises Damaged if one of ``names`` is missing, or if an entry has a wrong type.
    """
    found = json_object(folder / "state.json")
    if missing := [name for name in names if name not in found]:
        raise Damaged(f"{folder}/state.json lacks {missing[0]}: give another checkpoint")
    for name in found.keys() & FACTS.keys():
        try:
            FACTS[name].validate_json(json.dumps(found[name]), strict=True)
        except (ValidationError, ValueError):
            raise Damaged(
                f'{folder} is damaged: "{name}" in state.json is {_short(found[name])}'
            ) from None
    return found


def _short(value: Any) -> str:
    """Return the repr of a value, cut after 60 characters."""
    text = repr(value)
    return text if len(text) < 60 else f"{text[:60]}..."


def described(codec: Codec) -> dict[str, Any] | None:
    """Return the fields of `SavedCodec` for the autoencoder of a codec; None for `Pixels`."""
    if isinstance(codec, Pixels):
        return None
    vae: Any = codec.vae
    kind = next(kind for kind, (network, _) in VAES.items() if isinstance(vae, network))
    images = {} if vae.image_channels == 3 else {"channels": vae.image_channels}
    size = {"size": list(codec.size)} if codec.size else {}
    tile = {"tile": codec.tile} if codec.tile else {}
    return {"kind": kind, "config": asdict(vae.config), **images, **size, **tile}


def conditioned(conditions: Sequence[Condition]) -> dict[str, Any]:
    """Return the conditions besides the class as JSON for a checkpoint; {} if there are none."""
    return {"conditions": [each.facts() for each in conditions]} if conditions else {}


def conditions_of(folder: Path) -> dict[str, Any]:
    """Read a checkpoint's conditions besides the class, and its `Pipeline.examples`."""
    try:
        conditions = read_conditions(facts(folder).get("conditions", []))
    except (LookupError, TypeError, AttributeError, UserError):
        raise Damaged(
            f"{folder} is damaged: the conditions in its state.json cannot be read"
        ) from None
    there = (folder / "examples.safetensors").exists()
    examples = checkpoint.tensors(folder, "examples") if there else {}
    return {"conditions": conditions, "examples": examples}


def tensors(codec: Codec, examples: Given) -> dict[str, dict[str, Tensor]]:
    """Return a checkpoint's tensors besides the weights, as {file: {name: tensor}}.

    The file "codec" holds the codec, unless it is `Pixels`. The file "examples" holds the
    conditions of some training images (`Pipeline.examples`), if there are any.
    """
    found = {"examples": dict(examples)} if examples else {}
    if isinstance(codec, Pixels):
        return found
    vae: Any = codec.vae
    weights = {f"vae.{name}": weight for name, weight in vae.state_dict().items()}
    return {"codec": {"mean": codec.mean, "std": codec.std, **weights}, **found}


def autoencoder(
    kind: str, fields: dict[str, Any], weights: dict[str, Tensor], where: str, channels: int = 3
) -> Any:
    """Build an autoencoder for images with ``channels`` channels; ``kind`` is a name in VAES.

    Raises Damaged if ``kind`` is unknown, or if ``fields`` or ``weights`` do not fit the
    autoencoder. The message begins with ``where``, the folder of ``fields`` and ``weights``.
    """
    try:
        network, config = VAES[kind]
        vae = network(configured(config, fields, where), channels)
        if wrong := unmatched(weights, vae.state_dict()):
            raise Damaged(f"{where}: {wrong}")
        vae.load_state_dict(weights)
    except (KeyError, TypeError, RuntimeError) as error:
        raise Damaged(f"{where} is not an autoencoder that mezzotint can read: {error}") from None
    return vae


def configured(config: Any, fields: dict[str, Any], where: str) -> Any:
    """Build a network's configuration; a wrong value raises Damaged, which names ``where``."""
    try:
        return config(**fields)
    except UserError as error:
        raise Damaged(f"{where}: {error}") from None


def latents(
    vae: Any, mean: Tensor, std: Tensor, device: torch.device, values: Values = EIGHT_BIT
) -> Latents:
    """Build the codec of an autoencoder, ready to use."""
    vae = vae.to(device).eval().requires_grad_(False)
    return Latents(vae, mean.to(device), std.to(device), values=values)
