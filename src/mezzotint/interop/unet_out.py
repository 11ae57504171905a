"""Convert UNet and UNet2D to diffusers' UNet2DModel: the inverse of `interop.unet`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mezzotint.interop.folder import renamed
from mezzotint.interop.unet import DEFAULTS, RENAMES, of_ddpm, passed

BACK = tuple((ours, theirs) for theirs, ours in RENAMES)


def unet_config(
    kind: str,
    fields: dict[str, Any],
    channels: int,
    outputs: int,
    classes: int,
    size: tuple[int, int],
) -> dict[str, Any]:
    """Return the ``config.json`` of the UNet2DModel that computes the same as a UNet or UNet2D.

    Args:
        kind: "unet" or "unet2d", as in `settings.Settings`.
        fields: The fields of UNetConfig or UNet2DConfig.
        channels: The channels of x, after squares of pixels are folded into channels.
        outputs: The channels of the output, before they are unfolded into squares of pixels.
        classes: The number of classes K. The label embedding has K + 1 rows; the last is the null
            class.
        size: The height and width of x, after squares of pixels are folded into channels.
    """
    levels = len(fields["channels"])
    own = of_ddpm(fields["attention"], fields["groups"]) if kind == "unet" else fields
    down = [_block("Down", i, own["attention_down"], own["block_down"]) for i in range(levels)]
    up = [_block("Up", i, own["attention_up"], own["block_up"]) for i in reversed(range(levels))]
    return {
        "_class_name": "UNet2DModel",
        **{name: DEFAULTS[name] for name in ("act_fn", "mid_block_type", "time_embedding_type")},
        "sample_size": size[0] if size[0] == size[1] else list(size),
        "in_channels": channels,
        "out_channels": outputs,
        "num_class_embeds": classes + 1 if classes else None,
        "block_out_channels": list(fields["channels"]),
        "layers_per_block": fields["blocks"],
        "attention_head_dim": fields["head_width"],
        "dropout": fields["dropout"],
        "norm_num_groups": fields["groups"],
        "attn_norm_num_groups": own["groups_bottom"],
        "norm_eps": own["eps"],
        "resnet_time_scale_shift": "scale_shift" if own["scaled"] else "default",
        "downsample_padding": int(own["around"]),
        "downsample_type": "resnet" if own["block_down"] else "conv",
        "upsample_type": "resnet" if own["block_up"] else "conv",
        "add_attention": own["attention_bottom"],
        "time_embedding_dim": own["emb"],
        "flip_sin_to_cos": False,
        "freq_shift": own["shift"],
        "down_block_types": down,
        "up_block_types": up,
    }


def _block(way: str, level: int, attention: Sequence[int], by_block: Sequence[int]) -> str:
    if level in attention:
        return f"Attn{way}Block2D"
    return f"Resnet{way}sampleBlock2D" if level in by_block else f"{way}Block2D"


def unet_state(weights: dict[str, Tensor], widths: Sequence[int]) -> dict[str, Tensor]:
    """Return the weights of a UNet or UNet2D under the keys of UNet2DModel.

    The projection of the time embedding is split into one projection for each residual block.
    ``widths`` holds the number of outputs of each block's projection, in the order in which the
    network runs the blocks. The projection of each attention is split into q, k and v. The weights
    of the augmentation input are left out, because this input is 0 in sampling.
    """
    theirs: dict[str, Tensor] = {}
    for key, value in weights.items():
        if key.startswith(("project.", "augmentation.")):
            continue
        name = renamed(re.sub(r"^(down|up)(\.\d+)\.resample\.", r"\1\2.\1samplers.0.", key), BACK)
        if match := re.search(r"\.qkv\.(weight|bias)$", name):
            for part, third in zip("qkv", value.chunk(3), strict=True):
                theirs[name.replace(match[0], f".to_{part}.{match[1]}")] = third.contiguous()
        else:
            theirs[name] = value.contiguous()
    blocks = [k.removesuffix("conv1.weight") for k in theirs if k.endswith("conv1.weight")]
    for part in ("weight", "bias"):
        rows = torch.split(weights[f"project.{part}"], list(widths))
        for block, some in zip(sorted(blocks, key=passed), rows, strict=True):
            theirs[f"{block}time_emb_proj.{part}"] = some.contiguous()
    return theirs
