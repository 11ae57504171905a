"""DiTTransformer2DModel, diffusers' DiT: its settings and weights as those of DiT, and back.

Nothing is dropped in silence: a setting without a counterpart here is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from mezzotint.errors import UserError
from mezzotint.interop.folder import weight
from mezzotint.interop.settings import Settings

# DiTTransformer2DModel's own defaults, which a config.json may leave out.
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
# Those of Transformer2DModel, as older folders name a DiT, where they differ.
LEGACY: dict[str, Any] = {
    "attention_bias": False,
    "patch_size": None,
    "activation_fn": "geglu",
    "num_embeds_ada_norm": None,
    "norm_type": "layer_norm",
    "norm_elementwise_affine": True,
}
# What they must be set to for ours to be the same function of the same weights.
REQUIRED: dict[str, Any] = {
    "dropout": 0.0,
    "attention_bias": True,
    "activation_fn": "gelu-approximate",
    "norm_type": "ada_norm_zero",
    "norm_elementwise_affine": False,
}
# What Transformer2DModel has besides; these values mean that a DiT does without it.
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
# What a DiT does not use.
IGNORED = {"norm_num_groups", "upcast_attention", "use_linear_projection"}

# Within a name: theirs, ours.
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
# What embeds the time and the class, of which each of their blocks has a copy.
COPIED = {
    "timestep_embedder.linear_1.": "time.0.",
    "timestep_embedder.linear_2.": "time.2.",
    "class_embedder.embedding_table.": "label.",
}


def dit_settings(config: dict[str, Any]) -> Settings:
    """Read a DiTTransformer2DModel's ``config.json``.

    Raises UserError naming every setting under which no DiT of ours is the same function.
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
        raise UserError(f"this DiT has no counterpart here: {', '.join(wrong)}")
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
    """Return the ``config.json`` of the DiTTransformer2DModel that is the same function.

    Args:
        fields: DiTConfig's.
        channels: The channels of x.
        outputs: Those of the output.
        classes: K; 0 leaves the row of the null class alone, which `dit_state` fills with zeros.
        size: The height of x, and its width: diffusers' DiT takes squares only.
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


def dit_weights(state: dict[str, Tensor], flipped: bool = True) -> dict[str, Tensor]:
    """A DiTTransformer2DModel's state dict under DiT's keys.

    q, k and v are stacked into one projection, and the rows of the last layer, which go through the
    pixels of a patch and then the channels, are put in our order. The null class of a network
    without classes is added to the bias of what embeds the time. ``flipped``: the embedding of the
    time has its cosines first.

    Raises UserError if a weight is missing, or if the blocks embed the time or the class unlike.
    """
    ours: dict[str, Tensor] = {}
    for key, value in state.items():
        if match := re.fullmatch(r"transformer_blocks\.\d+\.norm1\.emb\.(.+)", key):
            name = _renamed(match[1], COPIED.items())
            if not torch.equal(ours.setdefault(name, value), value):
                raise UserError(
                    f"the blocks embed the time or the class unlike, {key} first: only a DiT whose "
                    "blocks share the embedding can be read"
                )
        elif match := re.search(r"\.attn1\.to_([qkv])\.", key):
            if match[1] == "q":
                parts = [weight(state, key.replace(match[0], f".attn1.to_{x}.")) for x in "qkv"]
                name = _renamed(key.replace(match[0], ".qkv."), RENAMES)
                ours[name] = torch.cat(parts)
        else:
            ours[_renamed(key, RENAMES)] = value
    stem = weight(ours, "stem.weight")
    patch = stem.shape[-1]
    ours["stem.weight"] = stem.flatten(1)
    for name in ("out.weight", "out.bias"):
        rows = weight(ours, name)
        pixels = rows.reshape(patch, patch, -1, *rows.shape[1:])
        ours[name] = pixels.movedim(2, 0).flatten(0, 2)
    if flipped:
        ours["time.0.weight"] = _halves_swapped(weight(ours, "time.0.weight"))
    if len(weight(ours, "label.weight")) == 1:  # the null class alone
        ours["time.2.bias"] = weight(ours, "time.2.bias") + ours.pop("label.weight")[0]
    return ours


def dit_state(weights: dict[str, Tensor], patch: int) -> dict[str, Tensor]:
    """The inverse of dit_weights: contiguous tensors that share no memory among them.

    The weights that take numbers about the augmentation are left out: at sampling these numbers
    are 0.
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
                name = _renamed(key.replace(".qkv.", f".attn1.to_{part}."), BACK)
                theirs[name] = third.clone()
        elif key == "stem.weight":
            theirs["pos_embed.proj.weight"] = value.reshape(len(value), -1, patch, patch).clone()
        elif key in ("out.weight", "out.bias"):
            rows = value.reshape(-1, patch, patch, *value.shape[1:]).movedim(0, 2)
            theirs[_renamed(key, BACK)] = rows.flatten(0, 2).clone()
        else:
            theirs[_renamed(key, BACK)] = value.clone()
    copied = [(ours, theirs) for theirs, ours in COPIED.items()]
    for block in sorted(blocks, key=int):
        for key, value in embedding.items():
            name = f"transformer_blocks.{block}.norm1.emb.{_renamed(key, copied)}"
            theirs[name] = value.clone()
    return theirs


def _renamed(key: str, names: Iterable[tuple[str, str]]) -> str:
    """Replace the parts of a key that are listed; those without a dot in front, at its start."""
    for old, new in names:
        if old[0] == "." or key.startswith(old):
            key = key.replace(old, new, 1)
    return key


def _halves_swapped(weight: Tensor) -> Tensor:
    """Columns for sines and then cosines as those for cosines and then sines, and back."""
    return weight.roll(weight.shape[1] // 2, dims=1)
