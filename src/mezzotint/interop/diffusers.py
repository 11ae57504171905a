"""Folders of diffusers, read as networks and schedules of ours.

Nothing is dropped in silence: a setting or a key without a counterpart here is refused by name.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mezzotint.diffusion.level import Schedule
from mezzotint.diffusion.schedules import cosine, linear, scaled_linear, zero_terminal_snr
from mezzotint.errors import UserError
from mezzotint.interop.folder import json_object, modern, weight, weights

# Our module for theirs, applied in this order.
RENAMES = (
    (r"^conv_in\.", "stem."),
    (r"^time_embedding\.linear_1\.", "time.0."),
    (r"^time_embedding\.linear_2\.", "time.2."),
    (r"^class_embedding\.", "label."),
    (r"^conv_norm_out\.", "norm."),
    (r"^conv_out\.", "out."),
    (r"^mid_block\.resnets\.0\.", "mid_in."),
    (r"^mid_block\.resnets\.1\.", "mid_out."),
    (r"^mid_block\.attentions\.0\.", "mid_attention."),
    (r"^(down|up)_blocks\.", r"\1."),
    (r"\.resnets\.", ".blocks."),
    (r"\.(down|up)samplers\.0\.", ".resample."),
    (r"\.conv_shortcut\.", ".shortcut."),
    (r"\.group_norm\.", ".norm."),
    (r"\.to_out\.0\.", ".out."),
)

# What UNet2DModel must be set to for UNet to be the same function of the same weights.
REQUIRED: dict[str, Any] = {
    "center_input_sample": False,
    "time_embedding_type": "positional",
    "freq_shift": 1,
    "flip_sin_to_cos": False,
    "mid_block_scale_factor": 1,
    "downsample_padding": 0,
    "downsample_type": "conv",
    "upsample_type": "conv",
    "act_fn": "silu",
    "norm_eps": 1e-6,
    "resnet_time_scale_shift": "default",
    "add_attention": True,
    "class_embed_type": None,
}
# UNet2DModel's own defaults, which a config.json may leave out.
DEFAULTS: dict[str, Any] = REQUIRED | {
    "freq_shift": 0,
    "flip_sin_to_cos": True,
    "downsample_padding": 1,
    "norm_eps": 1e-5,
    "layers_per_block": 2,
    "attention_head_dim": 8,
    "norm_num_groups": 32,
    "dropout": 0.0,
    "num_class_embeds": None,
    "in_channels": 3,
    "out_channels": 3,
}


def unet_settings(config: dict[str, Any]) -> tuple[dict[str, Any], int, int]:
    """A UNet2DModel's ``config.json`` as (UNetConfig's fields, image channels, classes K).

    ``num_class_embeds`` is K + 1, the last row the null class. Raises UserError naming every
    setting under which our U-Net would be another function.
    """
    config = DEFAULTS | config
    down, up = config["down_block_types"], config["up_block_types"]
    wrong = [f"{k} = {config[k]!r}" for k, v in REQUIRED.items() if config[k] != v]
    if not set(down) <= {"DownBlock2D", "AttnDownBlock2D"}:
        wrong.append(f"down_block_types = {list(down)}")
    if [("Attn" in a, "UpBlock2D") for a in reversed(down)] != [
        ("Attn" in b, b.removeprefix("Attn")) for b in up
    ]:
        wrong.append(f"up_block_types = {list(up)} (not the mirror of the way down)")
    if config["in_channels"] != config["out_channels"]:
        wrong.append(f"out_channels = {config['out_channels']}")
    if config.get("attn_norm_num_groups") is not None or config.get("time_embedding_dim"):
        wrong.append("attn_norm_num_groups or time_embedding_dim set")
    if wrong:
        raise UserError(f"this UNet2DModel has no counterpart here: {', '.join(wrong)}")
    fields = {
        "channels": tuple(config["block_out_channels"]),
        "blocks": config["layers_per_block"],
        "attention": tuple(i for i, kind in enumerate(down) if "Attn" in kind),
        "head_width": config["attention_head_dim"],
        "dropout": config["dropout"],
        "groups": config["norm_num_groups"],
    }
    return fields, config["in_channels"], max((config["num_class_embeds"] or 0) - 1, 0)


def unet_weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A UNet2DModel's state dict under UNet's keys.

    q, k and v are stacked into one projection, and what projects the time embedding for each
    residual block into another, in the order in which the blocks are passed. Older names of the
    attention's weights are known.
    """
    ours, state = {}, modern(state)
    blocks = [k.removesuffix("weight") for k in state if k.endswith("time_emb_proj.weight")]
    # Down, mid, up: the order of the alphabet, and of the numbers, is the walk's.
    blocks.sort(key=lambda name: [part.zfill(9) for part in name.split(".")])
    for part in ("weight", "bias"):
        ours[f"project.{part}"] = torch.cat([weight(state, block + part) for block in blocks])
    for key, value in state.items():
        name = key
        if match := re.search(r"\.to_q\.(weight|bias)$", key):
            name = key.replace(match[0], f".qkv.{match[1]}")
            parts = [key.replace(".to_q.", f".to_{part}.") for part in "qkv"]
            value = torch.cat([weight(state, part) for part in parts])
        elif re.search(r"\.to_[kv]\.|\.time_emb_proj\.", key):
            continue
        for theirs, mine in RENAMES:
            name = re.sub(theirs, mine, name)
        ours[name] = value
    return ours


def schedule(config: dict[str, Any]) -> tuple[Schedule, str]:
    """A scheduler's ``scheduler_config.json`` as our Schedule and its prediction type.

    Raises UserError for a scheduler that has no betas, for betas given one by one, for a kind of
    schedule without a counterpart, and for a last row of pure noise (rescale_betas_zero_snr) under
    a network that predicts eps.
    """
    if "_class_name" in config and "beta_schedule" not in config:
        raise UserError(
            f"the scheduler is {config['_class_name']}, without a beta_schedule: give a model of "
            "one that has it, such as DDPMScheduler"
        )
    kind, T = config.get("beta_schedule", "linear"), config.get("num_train_timesteps", 1000)
    lo, hi = config.get("beta_start", 1e-4), config.get("beta_end", 0.02)
    names = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}
    prediction = names.get(config.get("prediction_type", "epsilon"))
    if prediction is None:
        raise UserError(f"unknown prediction_type {config['prediction_type']!r} in the scheduler")
    if config.get("trained_betas") is not None:
        raise UserError("a scheduler with trained_betas is not supported")
    known = {
        "linear": lambda: linear(T, lo, hi),
        "scaled_linear": lambda: scaled_linear(T, lo, hi),
        "squaredcos_cap_v2": lambda: cosine(T),
    }
    if kind not in known:
        raise UserError(f"the scheduler's beta_schedule {kind!r} is none of {', '.join(known)}")
    table = known[kind]()
    if config.get("rescale_betas_zero_snr"):
        if prediction == "eps":
            raise UserError(
                "the scheduler ends in pure noise (rescale_betas_zero_snr), where a network that "
                "predicts epsilon says nothing of the image: it must predict v or the sample"
            )
        table = zero_terminal_snr(table)
    return table, prediction


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Tensor]]:
    """(network's config, scheduler's config, state dict) of a pipeline's folder, or a UNet's own.

    A pipeline's files lie in ``unet`` and ``scheduler``, or older ones' all in the folder itself.
    A bare network brings no scheduler: its config is then empty, which means DDPM's defaults.
    """
    pipeline = (folder / "model_index.json").exists()
    unet = folder / "unet" if pipeline and (folder / "unet").is_dir() else folder
    config = json_object(unet / "config.json")
    if config.get("_class_name") != "UNet2DModel":
        raise UserError(f"{unet} holds a {config.get('_class_name')}; a UNet2DModel can be read")
    places = [folder / place / "scheduler_config.json" for place in ("scheduler", "")]
    settings = next((json_object(place) for place in places if place.exists()), {})
    return config, settings, weights(unet)
