"""Read diffusers' AutoencoderKL and AutoencoderTiny, and write a VAE as an AutoencoderKL.

Nothing is dropped silently: settings and weights that have no counterpart in mezzotint's
autoencoders raise an error that names them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor

from mezzotint.errors import UserError
from mezzotint.interop.folder import WEIGHTS, json_object, modern, weight, weights

Scaling = tuple[tuple[float, ...], tuple[float, ...]]
Read = tuple[dict[str, Any], int, Scaling]

# With these values, VAE and TinyVAE compute the same functions of the same weights.
REQUIRED: dict[str, Any] = {"act_fn": "silu"}
TINY_REQUIRED: dict[str, Any] = {
    "act_fn": "relu",
    "upsample_fn": "nearest",
    "upsampling_scaling_factor": 2,
}
# The defaults of diffusers, which a config.json may leave out.
DEFAULTS: dict[str, Any] = REQUIRED | {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ("DownEncoderBlock2D",),
    "up_block_types": ("UpDecoderBlock2D",),
    "block_out_channels": (64,),
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 32,
    "scaling_factor": 0.18215,
    "shift_factor": None,
    "latents_mean": None,
    "latents_std": None,
    "use_quant_conv": True,
    "use_post_quant_conv": True,
    "mid_block_add_attention": True,
}
TINY_DEFAULTS: dict[str, Any] = TINY_REQUIRED | {
    "in_channels": 3,
    "out_channels": 3,
    "encoder_block_out_channels": (64, 64, 64, 64),
    "decoder_block_out_channels": (64, 64, 64, 64),
    "num_encoder_blocks": (1, 3, 3, 3),
    "num_decoder_blocks": (3, 3, 3, 1),
    "latent_channels": 4,
    "scaling_factor": 1.0,
    "shift_factor": 0.0,
}
# Settings that do not change the function: the size of tiles, the precision, the conversion of
# latents to a uint8 image (latent_magnitude and latent_shift), and a copy of the encoder's widths.
IGNORED = {"sample_size", "force_upcast"}
TINY_IGNORED = {"force_upcast", "latent_magnitude", "latent_shift", "block_out_channels"}

# The fields of VAEConfig, and their names in diffusers.
FIELDS = {
    "channels": "block_out_channels",
    "blocks": "layers_per_block",
    "latent": "latent_channels",
    "groups": "norm_num_groups",
    "attention": "mid_block_add_attention",
    "quant": "use_quant_conv",
    "post_quant": "use_post_quant_conv",
}

# Parts of a weight's name within a layer, in diffusers and in VAE.
PARTS = (("conv_shortcut.", "shortcut."), ("group_norm.", "norm."), ("to_out.0.", "out."))


@dataclass(frozen=True, eq=False)
class Foreign:
    """An autoencoder that diffusers saved, with the settings and weights of VAE or TinyVAE.

    Attributes:
        kind: "kl" for VAE, "tiny" for TinyVAE.
        fields: The fields of VAEConfig or TinyVAEConfig.
        channels: The channels of an image.
        weights: The weights under the keys of VAE or TinyVAE. `folder.unmatched` can check that
            they match the network.
        scale, shift: One number for each channel of the latents z; the input of a diffusion model
            is ``(z - shift) * scale``. They are ``scaling_factor`` and ``shift_factor``, or
            ``scaling_factor / latents_std`` and ``latents_mean``.
    """

    kind: Literal["kl", "tiny"]
    fields: dict[str, Any]
    channels: int
    weights: dict[str, Tensor]
    scale: tuple[float, ...]
    shift: tuple[float, ...]


def read_vae(folder: Path) -> Foreign:
    """Read an autoencoder from its own folder, or from ``vae`` in the folder of a pipeline.

    Raises UserError if the folder does not hold an AutoencoderKL or an AutoencoderTiny, if a file
    is missing or damaged, or if a setting is not supported.
    """
    if (folder / "model_index.json").exists():
        folder = folder / "vae"
    config = json_object(folder / "config.json")
    name = config.get("_class_name")
    if name not in ("AutoencoderKL", "AutoencoderTiny"):
        raise UserError(f"{folder} holds a {name}: give an AutoencoderKL or AutoencoderTiny")
    state = weights(folder)
    try:
        if name == "AutoencoderTiny":
            fields, channels, scaling = tiny_settings(config)
            return Foreign("tiny", fields, channels, tiny_weights(state), *scaling)
        fields, channels, scaling = vae_settings(config)
        return Foreign("kl", fields, channels, vae_weights(state, fields), *scaling)
    except UserError:
        raise
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{folder} cannot be read as {name} ({error}): save or fetch it again"
        ) from None


def write_vae(
    folder: Path,
    fields: dict[str, Any],
    channels: int,
    weights: dict[str, Tensor],
    scale: Sequence[float],
    shift: Sequence[float],
) -> None:
    """Write a folder for ``AutoencoderKL.from_pretrained``; the arguments are as in `Foreign`.

    ``fields`` must hold all fields of VAEConfig. Raises UserError for a VAE with ``patch`` above 1,
    which folds squares of pixels into channels, because diffusers cannot do that.
    """
    patch = fields.get("patch", 1)
    if patch != 1:
        raise UserError(
            f"the autoencoder folds {patch}x{patch} pixels into channels, which diffusers cannot "
            "do: give an autoencoder that was trained with `patch=1`"
        )
    levels = len(fields["channels"])
    config = {
        "_class_name": "AutoencoderKL",
        **REQUIRED,
        "in_channels": channels,
        "out_channels": channels,
        **{theirs: fields[ours] for ours, theirs in FIELDS.items()},
        **{name: DEFAULTS[name] * levels for name in ("down_block_types", "up_block_types")},
        **_scaling_of(scale, shift),
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file(vae_state(weights, fields), folder / WEIGHTS, metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2))


def vae_settings(config: dict[str, Any]) -> Read:
    """Return an AutoencoderKL's settings as (VAEConfig's fields, image channels, (scale, shift)).

    Raises UserError for settings that VAE does not support; the message names them all.
    """
    settings = DEFAULTS | config
    wrong = _wrong(settings, REQUIRED, DEFAULTS.keys() | IGNORED)
    levels = len(settings["block_out_channels"])
    for name in ("down_block_types", "up_block_types"):
        if tuple(settings[name]) != DEFAULTS[name] * levels:
            wrong.append(f"{name} = {list(settings[name])}")
    _refuse("AutoencoderKL", wrong)
    fields = {ours: settings[theirs] for ours, theirs in FIELDS.items()}
    fields["channels"] = tuple(fields["channels"])
    return fields, settings["in_channels"], _scaling(settings)


def tiny_settings(config: dict[str, Any]) -> Read:
    """Return an AutoencoderTiny's settings as (fields, image channels, (scale, shift)).

    The fields are those of TinyVAEConfig. Raises UserError for settings that TinyVAE does not
    support; the message names them all.
    """
    settings = TINY_DEFAULTS | config
    wrong = _wrong(settings, TINY_REQUIRED, TINY_DEFAULTS.keys() | TINY_IGNORED)
    blocks = [tuple(settings[f"num_{side}_blocks"]) for side in ("encoder", "decoder")]
    widths = [tuple(settings[f"{side}_block_out_channels"]) for side in ("encoder", "decoder")]
    width, levels = widths[0][0], len(blocks[0])
    if len(blocks[1]) != levels:
        wrong.append(f"num_decoder_blocks = {list(blocks[1])} (not of the encoder's length)")
    if widths != [(width,) * levels] * 2:
        wrong.append(f"block_out_channels = {[list(w) for w in widths]} (not one width)")
    _refuse("AutoencoderTiny", wrong)
    fields = {
        "width": width,
        "latent": settings["latent_channels"],
        "encoder": blocks[0],
        "decoder": blocks[1],
    }
    return fields, settings["in_channels"], _scaling(settings)


def vae_weights(state: dict[str, Tensor], fields: dict[str, Any]) -> dict[str, Tensor]:
    """Return the weights of an AutoencoderKL under the keys of a VAE with the fields ``fields``.

    q, k and v are stacked into one projection. Older names of the attention's weights are accepted.
    """
    state = modern(state)
    layers = {theirs: ours for ours, theirs in _layers(fields).items()}
    result = {}
    for key, value in state.items():
        if re.search(r"\.to_[kv]\.", key):
            continue
        layer, part = _split(key, layers)
        if part.startswith("to_q."):
            value = torch.cat([weight(state, key.replace(".to_q.", f".to_{x}.")) for x in "qkv"])
            part = part.replace("to_q.", "qkv.")
        for theirs, ours in PARTS:
            part = part.replace(theirs, ours)
        result[layer + part] = value
    return result


def vae_state(weights: dict[str, Tensor], fields: dict[str, Any]) -> dict[str, Tensor]:
    """Return the weights of a VAE under the keys of AutoencoderKL; no two tensors share memory."""
    layers = _layers(fields)
    result = {}
    for key, value in weights.items():
        layer, part = _split(key, layers)
        if part.startswith("qkv."):
            for name, piece in zip("qkv", value.chunk(3), strict=True):
                result[layer + part.replace("qkv.", f"to_{name}.")] = piece.clone()
            continue
        for theirs, ours in PARTS:
            part = theirs + part.removeprefix(ours) if part.startswith(ours) else part
        result[layer + part] = value.contiguous()
    return result


def tiny_weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of an AutoencoderTiny under the keys of TinyVAE."""
    return {key.replace("coder.layers.", "coder.", 1): value for key, value in state.items()}


def _wrong(config: dict[str, Any], required: dict[str, Any], known: set[str]) -> list[str]:
    wrong = [f"{k} = {config[k]!r}" for k, v in required.items() if config[k] != v]
    if config["in_channels"] != config["out_channels"]:
        wrong.append(f"out_channels = {config['out_channels']}")
    unknown = sorted(k for k in config.keys() - known if not k.startswith("_"))
    return wrong + [f"{k} = {config[k]!r} (unknown)" for k in unknown]


def _refuse(name: str, wrong: list[str]) -> None:
    if wrong:
        raise UserError(
            f"mezzotint does not support these settings of an {name}: {', '.join(wrong)}; give an "
            "autoencoder without them"
        )


def _scaling(config: dict[str, Any]) -> Scaling:
    """Return the scale and the shift of each channel of the latents; see `Foreign`.

    Raises UserError for a scale of 0 or less, and for settings that contradict each other.
    """
    count, scale = config["latent_channels"], float(config["scaling_factor"])
    shift = float(config["shift_factor"] or 0.0)
    mean, std = config.get("latents_mean"), config.get("latents_std")
    if not (scale > 0 and all(each > 0 for each in std or ())):
        raise UserError("scaling_factor and latents_std must be above 0: correct config.json")
    if mean is None and std is None:
        return (scale,) * count, (shift,) * count
    if mean is None or std is None or shift or not len(mean) == len(std) == count:
        raise UserError(
            "latents_mean and latents_std must be given together, without a shift_factor, and for "
            f"each of the {count} channels of the latents: correct config.json"
        )
    return tuple(scale / float(s) for s in std), tuple(map(float, mean))


def _scaling_of(scale: Sequence[float], shift: Sequence[float]) -> dict[str, Any]:
    """Convert the scale and the shift of latents to settings, which `_scaling` converts back.

    The settings are one factor and one shift if all channels share them, else statistics for each
    channel.
    """
    if len(set(scale)) == len(set(shift)) == 1:
        return {"scaling_factor": scale[0], "shift_factor": shift[0]}
    deviations = [1 / each for each in scale]
    return {"scaling_factor": 1.0, "latents_mean": list(shift), "latents_std": deviations}


def _layers(fields: dict[str, Any]) -> dict[str, str]:
    """Return a dict from layer names in VAE to names in diffusers; all names end in a dot."""
    last, blocks = len(fields["channels"]) - 1, fields["blocks"]
    attention = ["mid_block.attentions.0"] if fields["attention"] else []
    middle = ["mid_block.resnets.0", *attention, "mid_block.resnets.1"]
    end = ["conv_norm_out", "conv_out"]
    down, up = [], []
    for i in range(last + 1):
        down += [f"down_blocks.{i}.resnets.{j}" for j in range(blocks)]
        down += [f"down_blocks.{i}.downsamplers.0"] if i < last else []
        up += [f"up_blocks.{i}.resnets.{j}" for j in range(blocks + 1)]
        up += [f"up_blocks.{i}.upsamplers.0"] if i < last else []
    names = {"quant.": "quant_conv.", "post_quant.": "post_quant_conv."}
    walks = {"encoder": ["conv_in", *down, *middle, *end]}
    walks["decoder"] = ["conv_in", *middle, *up, *end]
    for side, walk in walks.items():
        names |= {f"{side}.{i}.": f"{side}.{layer}." for i, layer in enumerate(walk)}
    return names


def _split(key: str, layers: dict[str, str]) -> tuple[str, str]:
    """Split a weight's key into its layer's name, translated by ``layers``, and the rest."""
    for layer, other in layers.items():
        if key.startswith(layer):
            return other, key.removeprefix(layer)
    return "", key
