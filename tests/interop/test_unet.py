"""diffusers' UNet2DModel and the same weights here."""

from __future__ import annotations

from inspect import signature
from typing import Any

import pytest
import torch
from diffusers import UNet2DModel
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import mezzotint as mz
from mezzotint.interop.unet import DEFAULTS, unet_settings, unet_weights
from mezzotint.networks import UNet, UNet2D
from theirs import ADM, CIFAR10, DEFAULT, SMALL, ours, unet

# At 32x32 this takes every way through the layers that have several on a CPU.
WIDE = SMALL | {"block_out_channels": (64, 128), "layers_per_block": 1}
LAYOUTS = pytest.mark.parametrize(
    "layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "last"]
)

DDPMS = {
    "cifar10": CIFAR10,
    "cifar10 with classes": CIFAR10 | {"num_class_embeds": 11},
    "heads of 8": SMALL | {"num_class_embeds": 11, "attention_head_dim": 8},
    "one block a level": SMALL | {"layers_per_block": 1, "norm_num_groups": 16},
    "eleven blocks": SMALL | {"layers_per_block": 11},
    "cosines first": SMALL | {"flip_sin_to_cos": True, "act_fn": "swish"},
    "learned variance": SMALL | {"out_channels": 6},
}
OTHERS = {
    "defaults": DEFAULT,
    "defaults with classes": DEFAULT | {"num_class_embeds": 11},
    "grey": DEFAULT | {"in_channels": 1, "out_channels": 1},
    "frequency shift 0": SMALL | {"freq_shift": 0},
    "padding 1": SMALL | {"downsample_padding": 1},
    "eps 1e-5": SMALL | {"norm_eps": 1e-5},
    "another time embedding": SMALL | {"time_embedding_dim": 40},
    "attention on the way up alone": DEFAULT | {"down_block_types": ("DownBlock2D",) * 2},
    "no attention at the bottom": DEFAULT | {"add_attention": False},
    "other groups at the bottom": DEFAULT | {"attn_norm_num_groups": 16},
    "adm": ADM,
    "adm with classes": ADM | {"num_class_embeds": 11, "out_channels": 6},
    "adm without a norm at the bottom": ADM | {"attn_norm_num_groups": None},
    "adm at the paper's depth": ADM
    | {
        "block_out_channels": (32, 64, 64, 96),
        "layers_per_block": 3,
        "down_block_types": ("ResnetDownsampleBlock2D", *("AttnDownBlock2D",) * 3),
        "up_block_types": (*("AttnUpBlock2D",) * 3, "ResnetUpsampleBlock2D"),
    },
    "scale and shift alone": DEFAULT | {"resnet_time_scale_shift": "scale_shift"},
    "blocks that resample alone": ADM | {"resnet_time_scale_shift": "default"},
    "halved by a block, doubled by a convolution": ADM | {"upsample_type": "conv"},
}


@pytest.mark.parametrize("config", [*DDPMS.values(), *OTHERS.values()], ids=[*DDPMS, *OTHERS])
def test_the_same_weights_give_the_same_output(config: dict[str, Any]) -> None:
    reference = unet(config)
    net = ours(reference)
    assert isinstance(net, UNet if config in DDPMS.values() else UNet2D)
    assert sum(p.numel() for p in net.parameters()) == reference.num_parameters()
    if config is CIFAR10:
        assert reference.num_parameters() == 35_746_307
    x = torch.randn(3, reference.config.in_channels, 32, 32)
    t = torch.tensor([0, 417, 999])
    labels = torch.tensor([0, 7, 10]) if net.conditions else None
    with torch.no_grad():
        wanted = reference(x, t, class_labels=labels).sample
        torch.testing.assert_close(net(x, t, labels), wanted, rtol=1e-5, atol=1e-5)


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the settings of a small UNet2DModel."""
    widths = draw(st.lists(st.sampled_from([16, 32]), min_size=1, max_size=3))
    choices: dict[str, list[Any]] = {
        "layers_per_block": [1, 2],
        "downsample_type": ["conv", "resnet"],
        "upsample_type": ["conv", "resnet"],
        "downsample_padding": [0, 1],
        "freq_shift": [0, 1],
        "flip_sin_to_cos": [True, False],
        "norm_eps": [1e-6, 1e-5, 1e-3],
        "attention_head_dim": [None, 8],
        "attn_norm_num_groups": [None, 4],
        "resnet_time_scale_shift": ["default", "scale_shift"],
        "add_attention": [True, False],
        "time_embedding_dim": [None, 20],
        "num_class_embeds": [None, 4],
        "out_channels": [2, 4],
    }
    down, up = (
        [draw(st.sampled_from([f"{side}Block2D", f"Attn{side}Block2D", long])) for _ in widths]
        for side, long in (("Down", "ResnetDownsampleBlock2D"), ("Up", "ResnetUpsampleBlock2D"))
    )
    chosen = {name: draw(st.sampled_from(values)) for name, values in choices.items()}
    own = {"in_channels": 2, "norm_num_groups": 8, "block_out_channels": tuple(widths)}
    return chosen | own | {"down_block_types": tuple(down), "up_block_types": tuple(up)}


@settings(max_examples=10, deadline=None)
@given(config=configs())
def test_so_they_do_whatever_the_settings_are(config: dict[str, Any]) -> None:
    reference = unet(config)
    net = ours(reference)
    x, t = torch.randn(2, 2, 8, 8), torch.tensor([3, 700])
    labels = torch.tensor([0, 3]) if net.conditions else None
    with torch.no_grad():
        wanted = reference(x, t, class_labels=labels).sample
        torch.testing.assert_close(net(x, t, labels), wanted, rtol=1e-4, atol=1e-4)


def test_settings_that_are_left_out_are_the_librarys_own_defaults() -> None:
    own = {name: p.default for name, p in signature(UNet2DModel.__init__).parameters.items()}
    assert {name: own[name] for name in DEFAULTS} == DEFAULTS
    assert own.keys() - DEFAULTS.keys() == {"self", "sample_size", "num_train_timesteps"}
    assert unet_settings({}).fields["channels"] == own["block_out_channels"]


def aged(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict with the names of older releases."""
    for new, old in (("q", "query"), ("k", "key"), ("v", "value"), ("out.0", "proj_attn")):
        state = {key.replace(f".to_{new}.", f".{old}."): value for key, value in state.items()}
    return state


def test_older_names_of_the_attention_are_known() -> None:
    reference = unet(SMALL)
    state = aged(reference.state_dict())
    assert "up_blocks.0.attentions.2.proj_attn.bias" in state
    got, wanted = unet_weights(state, False), ours(reference).state_dict()
    assert got.keys() == wanted.keys()
    assert all(torch.equal(got[key], value) for key, value in wanted.items())


@LAYOUTS
@pytest.mark.parametrize(
    "config", [WIDE, ADM | {"norm_num_groups": 8, "attn_norm_num_groups": 8}], ids=["ddpm", "adm"]
)
def test_the_same_weights_give_the_same_gradients(
    config: dict[str, Any], layout: torch.memory_format
) -> None:
    reference = unet(config)
    net = ours(reference, layout)
    x, t = torch.randn(2, 3, 32, 32), torch.tensor([3, 700])
    slope = torch.randn_like(x)
    net(x, t).backward(slope)
    reference(x, t).sample.backward(slope)
    flipped = reference.config.flip_sin_to_cos
    grads = unet_weights({k: p.grad for k, p in reference.named_parameters()}, flipped)
    for name, weight in net.named_parameters():
        bound = 1e-4 * float(grads[name].abs().max())
        torch.testing.assert_close(weight.grad, grads[name], rtol=0, atol=bound)


@LAYOUTS
def test_bf16_loses_no_more_than_autocast_does_there(layout: torch.memory_format) -> None:
    def error(got: Tensor, wanted: Tensor) -> float:
        return float((got.float() - wanted).norm() / wanted.norm())

    mine, other = 0.0, 0.0
    for seed in range(3):
        reference = unet(WIDE, seed)
        net = ours(reference, layout)
        x, t = torch.randn(4, 3, 32, 32), torch.tensor([3, 200, 600, 900])
        with torch.no_grad():
            wanted = net(x, t)
            mine += error(net.for_inference(torch.bfloat16)(x, t), wanted)
            with torch.autocast("cpu", torch.bfloat16):
                other += error(reference(x, t).sample, wanted)
    assert 0 < mine <= 1.02 * other


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time_embedding_type": "fourier"}, "time_embedding_type = 'fourier'"),
        ({"time_embedding_type": "adm"}, "time_embedding_type = 'adm'"),
        ({"attention_legacy_order": True}, r"attention_legacy_order = True \(unknown\)"),
        ({"center_input_sample": True, "act_fn": "gelu"}, "center_input_sample = True, act_fn"),
        ({"class_embed_type": "timestep"}, "class_embed_type = 'timestep'"),
        ({"mid_block_type": None}, "mid_block_type = None"),
        ({"mid_block_scale_factor": 1.4}, "mid_block_scale_factor = 1.4"),
        ({"resnet_time_scale_shift": "spatial"}, "resnet_time_scale_shift = 'spatial'"),
        ({"out_channels": 4}, "out_channels = 4"),
        (
            {"down_block_types": ["DownBlock2D", "AttnSkipDownBlock2D"]},
            r"down_block_types = \['DownBlock2D', 'AttnSkip",
        ),
        (
            {"up_block_types": ["DownBlock2D", "UpBlock2D"]},
            r"up_block_types = \['DownBlock2D', 'UpBlock2D'\]",
        ),
        ({"block_out_channels": (32, 64, 64)}, "different lengths of block_out_channels"),
    ],
    ids=lambda case: next(iter(case)) if isinstance(case, dict) else "",
)
def test_every_setting_without_a_counterpart_is_named(change: dict, message: str) -> None:
    with pytest.raises(mz.UserError, match=f"these settings of a UNet2DModel: .*{message}"):
        unet_settings(DEFAULT | change)


def test_what_an_average_adds_to_the_settings_is_no_setting() -> None:
    ema = {"decay": 0.9999, "inv_gamma": 1.0, "min_decay": 0.0, "optimization_step": 3500}
    ema |= {"power": 2 / 3, "update_after_step": 0, "use_ema_warmup": False}
    assert unet_settings(DEFAULT | ema) == unet_settings(DEFAULT)
