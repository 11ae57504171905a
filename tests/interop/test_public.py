"""The public models that docs/foreign.md names, with their published settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import mezzotint as mz
from mezzotint.interop.scheduler import schedule
from mezzotint.interop.unet import unet_settings
from theirs import CIFAR10

PAGE = (Path(__file__).parents[2] / "docs" / "foreign.md").read_text()

# What they write in config.json besides the library's defaults, or instead of them.
WIDE = {"block_out_channels": (128, 128, 256, 256, 512, 512)} | {
    "down_block_types": (*("DownBlock2D",) * 4, "AttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "AttnUpBlock2D", *("UpBlock2D",) * 4),
}
GOOGLE_256 = CIFAR10 | WIDE | {"sample_size": 256}
COURSE = {
    "sample_size": 32,
    "block_out_channels": (64, 128, 128, 256),
    "down_block_types": (*("DownBlock2D",) * 2, *("AttnDownBlock2D",) * 2),
    "up_block_types": (*("AttnUpBlock2D",) * 2, *("UpBlock2D",) * 2),
}
GREY = {"in_channels": 1, "out_channels": 1}
CONSISTENCY = {
    "sample_size": 64,
    "block_out_channels": (192, 384, 576, 768),
    "layers_per_block": 3,
    "attention_head_dim": 64,
    "attn_norm_num_groups": 32,
    "num_class_embeds": 1000,
    "down_block_types": ("ResnetDownsampleBlock2D", *("AttnDownBlock2D",) * 3),
    "up_block_types": (*("AttnUpBlock2D",) * 3, "ResnetUpsampleBlock2D"),
    "downsample_type": "resnet",
    "upsample_type": "resnet",
    "resnet_time_scale_shift": "scale_shift",
}
AVERAGE = {"decay": 0.9999, "inv_gamma": 1.0, "min_decay": 0.0, "optimization_step": 3500}
AVERAGE |= {"power": 0.667, "update_after_step": 0, "use_ema_warmup": False}
READ: dict[str, tuple[str, dict[str, Any]]] = {
    "google/ddpm-cifar10-32": ("unet", CIFAR10),
    "google/ddpm-celebahq-256": ("unet", GOOGLE_256),
    "google/ddpm-ema-celebahq-256": ("unet", GOOGLE_256),
    "google/ddpm-cat-256": ("unet", GOOGLE_256),
    "johnowhitaker/ddpm-butterflies-32px": ("unet2d", COURSE),
    "noza-kit/sd-class-butterflies-32": ("unet2d", COURSE),
    "tensorkelechi/sky_diffuse": ("unet2d", COURSE | {"sample_size": 64}),
    "ULZIITOGTOKH/road_obstacles": ("unet2d", WIDE | {"sample_size": 64} | AVERAGE),
    "nroggendorff/anime": ("unet2d", WIDE | {"sample_size": 128}),
    "glukas/smd-bach-diffusion-128": ("unet2d", WIDE | GREY | {"sample_size": [128, 128]}),
    "nathanReitinger/FASHION-diffusion-oneImage": (
        "unet2d",
        GREY
        | {
            "sample_size": 28,
            "block_out_channels": (32, 64, 64),
            "down_block_types": ("DownBlock2D", *("AttnDownBlock2D",) * 2),
            "up_block_types": (*("AttnUpBlock2D",) * 2, "UpBlock2D"),
        },
    ),
    "afshr/camnormal_test": (
        "unet2d",
        {
            "sample_size": 224,
            "block_out_channels": CIFAR10["block_out_channels"],
            "down_block_types": CIFAR10["down_block_types"],
            "up_block_types": CIFAR10["up_block_types"],
        },
    ),
    # The network is read; what refuses the folder is its scheduler.
    "openai/diffusers-cd_imagenet64_l2": ("unet2d", CONSISTENCY),
    "dg845/diffusers-cm_edm_imagenet64_ema": ("unet2d", CONSISTENCY | {"dropout": 0.1}),
}
ADM_FORK = CONSISTENCY | {"attention_legacy_order": True, "time_embedding_type": "adm"}
REFUSED: dict[str, dict[str, Any]] = {
    "lukasz-staniszewski/adm-imagenet-256x256-unconditional": ADM_FORK | {"out_channels": 6},
    "xutongda/adm_lsun_cat_256x256": ADM_FORK | {"out_channels": 6},
}


@pytest.mark.parametrize("name", [*READ, *REFUSED])
def test_the_page_names_it(name: str) -> None:
    assert PAGE.count(f"`{name}`") == 1


@pytest.mark.parametrize(("name", "kind", "config"), [(name, *told) for name, told in READ.items()])
def test_its_network_is_read(name: str, kind: str, config: dict[str, Any]) -> None:
    found = unet_settings({"_class_name": "UNet2DModel", "_diffusers_version": "0.24.0"} | config)
    assert found.kind == kind
    assert found.fields["channels"] == config["block_out_channels"]
    row = next(line for line in PAGE.splitlines() if f"`{name}`" in line)
    assert f"| {'`UNet`' if kind == 'unet' else '`UNet2D`'} |" in row


@pytest.mark.parametrize("name", REFUSED)
def test_its_network_is_refused(name: str) -> None:
    with pytest.raises(mz.UserError, match=r"time_embedding_type = 'adm', attention_legacy_order"):
        unet_settings(REFUSED[name])


def test_a_consistency_models_scheduler_is_refused() -> None:
    with pytest.raises(
        mz.UserError, match="CMStochasticIterativeScheduler, which has no beta_sched"
    ):
        schedule({"_class_name": "CMStochasticIterativeScheduler", "num_train_timesteps": 40})
