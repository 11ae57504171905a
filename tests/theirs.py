"""UNet2DModels of diffusers, and the same networks in mezzotint."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
from diffusers import UNet2DModel
from torch import nn

from mezzotint.interop.unet import unet_settings, unet_weights
from mezzotint.networks import UNet, UNet2D, UNet2DConfig, UNetConfig

diffusers.utils.logging.set_verbosity_error()

# google/ddpm-cifar10-32's config.json
CIFAR10: dict[str, Any] = {
    "sample_size": 32,
    "block_out_channels": (128, 256, 256, 256),
    "layers_per_block": 2,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "norm_eps": 1e-6,
    "attention_head_dim": None,
}
TWO: dict[str, Any] = {
    "sample_size": 16,
    "block_out_channels": (32, 64),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
}
# One of DDPM's kind, one of the library's own defaults.
SMALL = CIFAR10 | TWO
DEFAULT = TWO | {"layers_per_block": 1}
# openai/diffusers-cd_imagenet64_l2's config.json, with fewer and narrower levels.
ADM = DEFAULT | {
    "attn_norm_num_groups": 32,
    "down_block_types": ("ResnetDownsampleBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "ResnetUpsampleBlock2D"),
    "downsample_type": "resnet",
    "upsample_type": "resnet",
    "resnet_time_scale_shift": "scale_shift",
}


def unet(config: dict[str, Any], seed: int = 0) -> UNet2DModel:
    """Make a UNet2DModel with random weights, also in its norms."""
    torch.manual_seed(seed)
    net = UNet2DModel(**config).eval()
    for layer in net.modules():
        if isinstance(layer, nn.GroupNorm):
            nn.init.normal_(layer.weight, 1, 0.2)
            nn.init.normal_(layer.bias, 0, 0.2)
    return net


def ours(
    reference: UNet2DModel, layout: torch.memory_format = torch.preserve_format
) -> UNet | UNet2D:
    """Make the same network in mezzotint."""
    found = unet_settings(dict(reference.config))
    sizes = found.channels, found.classes, found.outputs
    net: UNet | UNet2D
    if found.kind == "unet":
        net = UNet(UNetConfig(**found.fields), *sizes).eval()
    else:
        net = UNet2D(UNet2DConfig(**found.fields), *sizes).eval()
    net.load_state_dict(unet_weights(reference.state_dict(), found.flipped))
    return net.to(memory_format=layout)
