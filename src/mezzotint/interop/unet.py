"""Convert diffusers' UNet2DModel, its settings and its weights, to UNet or UNet2D.

Nothing is dropped silently: settings that have no counterpart in UNet or UNet2D raise an error that
names them.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from mezzotint.errors import UserError
from mezzotint.interop.folder import modern, renamed, weight
from mezzotint.interop.settings import Settings

# Parts of a weight's name in diffusers and in UNet or UNet2D.
RENAMES = (
    ("conv_in.", "stem."),
    ("time_embedding.linear_1.", "time.0."),
    ("time_embedding.linear_2.", "time.2."),
    ("class_embedding.", "label."),
    ("conv_norm_out.", "norm."),
    ("conv_out.", "out."),
    ("mid_block.resnets.0.", "mid_in."),
    ("mid_block.resnets.1.", "mid_out."),
    ("mid_block.attentions.0.", "mid_attention."),
    ("down_blocks.", "down."),
    ("up_blocks.", "up."),
    (".resnets.", ".blocks."),
    (".conv_shortcut.", ".shortcut."),
    (".group_norm.", ".norm."),
    (".to_out.0.", ".out."),
)

# The defaults of UNet2DModel, which a config.json may leave out.
DEFAULTS: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "center_input_sample": False,
    "time_embedding_type": "positional",
    "time_embedding_dim": None,
    "freq_shift": 0,
    "flip_sin_to_cos": True,
    "down_block_types": ("DownBlock2D", *("AttnDownBlock2D",) * 3),
    "mid_block_type": "UNetMidBlock2D",
    "up_block_types": (*("AttnUpBlock2D",) * 3, "UpBlock2D"),
    "block_out_channels": (224, 448, 672, 896),
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "downsample_padding": 1,
    "downsample_type": "conv",
    "upsample_type": "conv",
    "dropout": 0.0,
    "act_fn": "silu",
    "attention_head_dim": 8,
    "norm_num_groups": 32,
    "attn_norm_num_groups": None,
    "norm_eps": 1e-5,
    "resnet_time_scale_shift": "default",
    "add_attention": True,
    "class_embed_type": None,
    "num_class_embeds": None,
}
# The values that UNet and UNet2D support.
ALLOWED: dict[str, tuple[Any, ...]] = {
    "center_input_sample": (False,),
    "time_embedding_type": ("positional",),
    "freq_shift": (0, 1),
    "mid_block_type": ("UNetMidBlock2D",),
    "mid_block_scale_factor": (1,),
    "downsample_padding": (0, 1),
    "downsample_type": ("conv", "resnet"),
    "upsample_type": ("conv", "resnet"),
    "act_fn": ("silu", "swish"),
    "resnet_time_scale_shift": ("default", "scale_shift"),
    "class_embed_type": (None,),
}
# Settings that do not change the function: the size of the images, T of a learned embedding, and
# the settings that an average of the weights (EMAModel) adds.
IGNORED = {
    *("sample_size", "num_train_timesteps"),
    *("decay", "min_decay", "optimization_step", "update_after_step"),
    *("use_ema_warmup", "inv_gamma", "power"),
}
# For each block of a level: whether it has attention, and whether a residual block resamples; None
# means that downsample_type or upsample_type decides.
BLOCKS: dict[str, tuple[bool, bool | None]] = {
    "DownBlock2D": (False, False),
    "AttnDownBlock2D": (True, None),
    "ResnetDownsampleBlock2D": (False, True),
    "UpBlock2D": (False, False),
    "AttnUpBlock2D": (True, None),
    "ResnetUpsampleBlock2D": (False, True),
}


def unet_settings(config: dict[str, Any]) -> Settings:
    """Read a UNet2DModel's ``config.json``.

    Raises UserError for settings that UNet and UNet2D do not support; the message names them all.
    """
    settings = DEFAULTS | config
    down, up = list(settings["down_block_types"]), list(settings["up_block_types"])[::-1]
    if wrong := _wrong(settings, down, up):
        raise UserError(
            f"mezzotint does not support these settings of a UNet2DModel: {', '.join(wrong)}; give "
            "a model without them"
        )
    common = {
        "channels": tuple(settings["block_out_channels"]),
        "blocks": settings["layers_per_block"],
        "head_width": settings["attention_head_dim"],
        "dropout": float(settings["dropout"]),
        "groups": settings["norm_num_groups"],
    }
    scaled = settings["resnet_time_scale_shift"] == "scale_shift"
    bottom = None if scaled else settings["norm_num_groups"]
    own = {
        "attention_down": _attending(down),
        "attention_up": _attending(up),
        "attention_bottom": settings["add_attention"],
        "block_down": _by_block(down, settings["downsample_type"], range(len(down) - 1)),
        "block_up": _by_block(up, settings["upsample_type"], range(1, len(up))),
        "groups_bottom": settings["attn_norm_num_groups"] or bottom,
        "eps": float(settings["norm_eps"]),
        "scaled": scaled,
        "around": settings["downsample_padding"] == 1,
        "shift": int(settings["freq_shift"]),
        "emb": settings["time_embedding_dim"],
    }
    attention = own["attention_down"]
    plain = own == of_ddpm(attention, settings["norm_num_groups"])
    return Settings(
        kind="unet" if plain else "unet2d",
        fields=common | ({"attention": attention} if plain else own),
        channels=settings["in_channels"],
        outputs=settings["out_channels"],
        classes=max((settings["num_class_embeds"] or 0) - 1, 0),
        flipped=settings["flip_sin_to_cos"],
    )


def of_ddpm(attention: tuple[int, ...], groups: int) -> dict[str, Any]:
    """Return the extra fields of UNet2DConfig with which a UNet2D computes the same as a UNet.

    The extra fields are those that UNetConfig lacks. ``attention`` and ``groups`` are the fields of
    the UNet's config.
    """
    return {
        "attention_down": attention,
        "attention_up": attention,
        "attention_bottom": True,
        "block_down": (),
        "block_up": (),
        "groups_bottom": groups,
        "eps": 1e-6,
        "scaled": False,
        "around": False,
        "shift": 1,
        "emb": None,
    }


def unet_weights(state: dict[str, Tensor], flipped: bool) -> dict[str, Tensor]:
    """Return the weights of a UNet2DModel under the keys of UNet or UNet2D.

    q, k and v are stacked into one projection. The projections of the time embedding in the
    residual blocks are also stacked into one, in the order in which the network runs the blocks.
    Older names of the attention's weights are accepted. ``flipped`` says whether the time embedding
    has its cosines first.
    """
    ours, state = {}, modern(state)
    blocks = [k.removesuffix("weight") for k in state if k.endswith("time_emb_proj.weight")]
    blocks.sort(key=passed)
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
        name = renamed(re.sub(r"\.(down|up)samplers\.0\.", ".resample.", name), RENAMES)
        if name == "time.0.weight" and flipped:
            value = value.roll(value.shape[1] // 2, dims=1)
        ours[name] = value
    return ours


def passed(block: str) -> list[str]:
    """Return a key that sorts blocks in the order in which the network runs them.

    Alphabetical order is the right order for the names down, mid and up. Within a level, the
    resampling layer comes last.
    """
    parts = re.sub(r"\b(down|up)samplers\b", "~", block).split(".")
    return [part.zfill(9) if part.isdigit() else part for part in parts]


def _attending(kinds: list[str]) -> tuple[int, ...]:
    """Return the levels whose blocks have attention."""
    return tuple(i for i, kind in enumerate(kinds) if BLOCKS[kind][0])


def _by_block(kinds: list[str], otherwise: str, among: range) -> tuple[int, ...]:
    """Return the levels in the range ``among`` that resample by a residual block.

    Some kinds of blocks leave this choice to the setting downsample_type or upsample_type;
    ``otherwise`` is the value of that setting.
    """
    said = [BLOCKS[kind][1] for kind in kinds]
    return tuple(i for i in among if (otherwise == "resnet" if said[i] is None else said[i]))


def _wrong(settings: dict[str, Any], down: list[str], up: list[str]) -> list[str]:
    """Return the unsupported settings, as text."""
    wrong = [f"{k} = {settings[k]!r}" for k, v in ALLOWED.items() if settings[k] not in v]
    for side, kinds in (("down", down), ("up", up)):
        known = {kind for kind in BLOCKS if (side == "up") == ("Up" in kind)}
        if not set(kinds) <= known:
            shown = kinds if side == "down" else kinds[::-1]
            wrong.append(f"{side}_block_types = {shown}")
    if not len(down) == len(up) == len(settings["block_out_channels"]):
        wrong.append("different lengths of block_out_channels, down_block_types and up_block_types")
    if settings["out_channels"] not in (settings["in_channels"], 2 * settings["in_channels"]):
        wrong.append(f"out_channels = {settings['out_channels']}")
    known = DEFAULTS.keys() | IGNORED
    unknown = sorted(k for k in settings.keys() - known if not k.startswith("_"))
    return wrong + [f"{k} = {settings[k]!r} (unknown)" for k in unknown]
