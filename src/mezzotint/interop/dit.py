"""Convert settings and weights between DiT and diffusers' DiTTransformer2DModel.

Nothing is dropped silently: settings that have no counterpart in DiT raise an error that names
them.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from mezzotint.errors import UserError
from mezzotint.interop.folder import renamed, weight
from mezzotint.interop.settings import Settings

# The defaults of DiTTransformer2DModel, which a config.json may leave out.
DEFAULTS: dict[str, Any] = {
    "num_attention_heads": 16,
    "attention_head_dim": 72,
    "in_channels": 4,
    "out_channels": None,
    "num_layers": 28,
    "dropout": 0.0,
    "attention_bias": True,
    "sample_size": 32,
    "patch_size": 2,
    "activation_fn": "gelu-approximate",
    "num_embeds_ada_norm": 1000,
    "norm_type": "ada_norm_zero",
    "norm_elementwise_affine": False,
    "norm_eps": 1e-5,
}
# The different defaults of Transformer2DModel, the class of a DiT in older folders.
LEGACY: dict[str, Any] = {
    "attention_bias": False,
    "patch_size": None,
    "activation_fn": "geglu",
    "num_embeds_ada_norm": None,
    "norm_type": "layer_norm",
    "norm_elementwise_affine": True,
}
# With these values, DiT computes the same function of the same weights.
REQUIRED: dict[str, Any] = {
    "dropout": 0.0,
    "attention_bias": True,
    "activation_fn": "gelu-approximate",
    "norm_type": "ada_norm_zero",
    "norm_elementwise_affine": False,
}
# Further settings of Transformer2DModel, with the values that turn them off.
ABSENT: dict[str, Any] = {
    "cross_attention_dim": None,
    "num_vector_embeds": None,
    "only_cross_attention": False,
    "double_self_attention": False,
    "attention_type": "default",
    "caption_channels": None,
    "interpolation_scale": None,
    "use_additional_conditions": None,
}
# Settings that a DiT does not use.
IGNORED = {"norm_num_groups", "upcast_attention", "use_linear_projection"}

# Parts of a weight's name in diffusers and in DiT.
RENAMES = (
    ("pos_embed.proj.", "stem."),
    ("proj_out_1.", "modulation."),
    ("proj_out_2.", "out."),
    ("transformer_blocks.", "blocks."),
    (".norm1.linear.", ".modulation."),
    (".attn1.to_out.0.", ".out."),
    (".ff.net.0.proj.", ".mlp.0."),
    (".ff.net.2.", ".mlp.2."),
)
BACK = tuple((ours, theirs) for theirs, ours in RENAMES)
# The embeddings of time and class. In diffusers every block has a copy of them.
COPIED = {
    "timestep_embedder.linear_1.": "time.0.",
    "timestep_embedder.linear_2.": "time.2.",
    "class_embedder.embedding_table.": "label.",
}


def dit_settings(config: dict[str, Any]) -> Settings:
    """Read a DiTTransformer2DModel's ``config.json``.

    If DiT does not support some settings, raises UserError, which names them all.
    """
    legacy = LEGACY if config.get("_class_name") == "Transformer2DModel" else {}
    settings = DEFAULTS | ABSENT | legacy | config
    wrong = [f"{k} = {settings[k]!r}" for k, v in (REQUIRED | ABSENT).items() if settings[k] != v]
    unknown = settings.keys() - DEFAULTS.keys() - ABSENT.keys() - IGNORED
    wrong += [f"{k} = {settings[k]!r} (unknown)" for k in sorted(unknown) if k[0] != "_"]
    patch, size, channels = (settings[k] for k in ("patch_size", "sample_size", "in_channels"))
    outputs = channels if settings["out_channels"] is None else settings["out_channels"]
    if outputs not in (channels, 2 * channels):
        wrong.append(f"out_channels = {outputs}")
    if not isinstance(size, int) or not patch or size % patch:
        wrong.append(f"patch_size = {patch} of sample_size = {size}")
    if wrong:
        raise UserError(
            f"mezzotint does not support these settings of a DiT: {', '.join(wrong)}; give a model "
            "without them"
        )
    heads = settings["num_attention_heads"]
    fields = {
        "patch": patch,
        "width": heads * settings["attention_head_dim"],
        "depth": settings["num_layers"],
        "heads": heads,
        "mlp_eps": float(settings["norm_eps"]),
    }
    return Settings("dit", fields, channels, outputs, settings["num_embeds_ada_norm"], True)


def dit_config(
    fields: dict[str, Any], channels: int, outputs: int, classes: int, size: int
) -> dict[str, Any]:
    """Return the ``config.json`` of the DiTTransformer2DModel that computes the same as a DiT.

    Args:
        fields: The fields of DiTConfig.
        channels: The channels of x.
        outputs: The channels of the output.
        classes: The number of classes K. If it is 0, the embedding has only the null class, whose
            row `dit_state` fills with zeros.
        size: The height and width of x; diffusers' DiT takes only squares.
    """
    return {
        "_class_name": "DiTTransformer2DModel",
        **REQUIRED,
        "num_attention_heads": fields["heads"],
        "attention_head_dim": fields["width"] // fields["heads"],
        "num_layers": fields["depth"],
        "in_channels": channels,
        "out_channels": outputs,
        "patch_size": fields["patch"],
        "sample_size": size,
        "num_embeds_ada_norm": classes,
        "norm_eps": fields["mlp_eps"],
    }


def dit_weights(state: dict[str, Tensor], flipped: bool) -> dict[str, Tensor]:
    """Return the weights of a DiTTransformer2DModel under the keys of DiT.

    q, k and v are stacked into one projection. The rows of the last layer are reordered, because
    diffusers orders them by pixel, then channel, and DiT by channel, then pixel. diffusers'
    network always has a class embedding. Without classes it uses only the row of the null class,
    which is added to the bias of the time embedding.
    ``flipped`` says whether the time embedding has its cosines first.

    Raises UserError if a weight is missing, or if blocks have different embeddings.
    """
    ours: dict[str, Tensor] = {}
    for key, value in state.items():
        if match := re.fullmatch(r"transformer_blocks\.\d+\.norm1\.emb\.(.+)", key):
            name = renamed(match[1], COPIED.items())
            if not torch.equal(ours.setdefault(name, value), value):
                raise UserError(
                    f"the blocks have different embeddings of time or class, first in {key}: give "
                    "a DiT whose blocks share them"
                )
        elif match := re.search(r"\.attn1\.to_([qkv])\.", key):
            if match[1] == "q":
                parts = [weight(state, key.replace(match[0], f".attn1.to_{x}.")) for x in "qkv"]
                name = renamed(key.replace(match[0], ".qkv."), RENAMES)
                ours[name] = torch.cat(parts)
        else:
            ours[renamed(key, RENAMES)] = value
    stem = weight(ours, "stem.weight")
    patch = stem.shape[-1]
    ours["stem.weight"] = stem.flatten(1)
    for name in ("out.weight", "out.bias"):
        rows = weight(ours, name)
        pixels = rows.reshape(patch, patch, -1, *rows.shape[1:])
        ours[name] = pixels.movedim(2, 0).flatten(0, 2)
    if flipped:
        ours["time.0.weight"] = _halves_swapped(weight(ours, "time.0.weight"))
    if len(weight(ours, "label.weight")) == 1:  # only the null class
        ours["time.2.bias"] = weight(ours, "time.2.bias") + ours.pop("label.weight")[0]
    return ours


def dit_state(weights: dict[str, Tensor], patch: int) -> dict[str, Tensor]:
    """Return the weights of a DiT under the keys of DiTTransformer2DModel.

    This inverts `dit_weights`. The tensors are contiguous and share no memory. The weights
    of the augmentation input are left out, because this input is 0 in sampling.
    """
    theirs: dict[str, Tensor] = {}
    blocks = {key.split(".")[1] for key in weights if key.startswith("blocks.")}
    embedding = {"label.weight": weights["time.2.bias"].new_zeros(1, len(weights["time.2.bias"]))}
    for key, value in weights.items():
        if key.startswith("augmentation."):
            continue
        if key.startswith(("time.", "label.")):
            embedding[key] = _halves_swapped(value) if key == "time.0.weight" else value
        elif ".qkv." in key:
            for part, third in zip("qkv", value.chunk(3), strict=True):
                name = renamed(key.replace(".qkv.", f".attn1.to_{part}."), BACK)
                theirs[name] = third.clone()
        elif key == "stem.weight":
            theirs["pos_embed.proj.weight"] = value.reshape(len(value), -1, patch, patch).clone()
        elif key in ("out.weight", "out.bias"):
            rows = value.reshape(-1, patch, patch, *value.shape[1:]).movedim(0, 2)
            theirs[renamed(key, BACK)] = rows.flatten(0, 2).clone()
        else:
            theirs[renamed(key, BACK)] = value.clone()
    copied = [(ours, theirs) for theirs, ours in COPIED.items()]
    for block in sorted(blocks, key=int):
        for key, value in embedding.items():
            name = f"transformer_blocks.{block}.norm1.emb.{renamed(key, copied)}"
            theirs[name] = value.clone()
    return theirs


def _halves_swapped(weight: Tensor) -> Tensor:
    """Swap the two halves of a weight's columns: those for sines and those for cosines."""
    return weight.roll(weight.shape[1] // 2, dims=1)
