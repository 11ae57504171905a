from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    EDMEulerScheduler,
    FlowMatchEulerDiscreteScheduler,
    UNet2DModel,
)
from torch import Tensor, nn

import mezzotint as mz
from mezzotint.interop.diffusers import schedule, unet_settings, unet_weights
from mezzotint.networks import UNet, UNetConfig

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
SMALL = CIFAR10 | {
    "sample_size": 16,
    "block_out_channels": (32, 64),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
}


# At 32x32 this takes every way through the layers that have several on a CPU.
WIDE = SMALL | {"block_out_channels": (64, 128), "layers_per_block": 1}


LAYOUTS = pytest.mark.parametrize(
    "layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "last"]
)


def theirs(config: dict[str, Any], seed: int = 0) -> UNet2DModel:
    """A UNet2DModel of random weights, the norms' too."""
    torch.manual_seed(seed)
    net = UNet2DModel(**config).eval()
    for layer in net.modules():
        if isinstance(layer, nn.GroupNorm):
            nn.init.normal_(layer.weight, 1, 0.2)
            nn.init.normal_(layer.bias, 0, 0.2)
    return net


def ours(reference: UNet2DModel, layout: torch.memory_format = torch.preserve_format) -> UNet:
    """The same network."""
    fields, channels, classes = unet_settings(dict(reference.config))
    net = UNet(UNetConfig(**fields), channels, classes).eval()
    net.load_state_dict(unet_weights(reference.state_dict()))
    return net.to(memory_format=layout)


@pytest.mark.parametrize(
    "config",
    [
        CIFAR10,
        CIFAR10 | {"num_class_embeds": 11},
        SMALL | {"num_class_embeds": 11, "attention_head_dim": 8},
        SMALL | {"layers_per_block": 1, "norm_num_groups": 16},
        SMALL | {"layers_per_block": 11},
    ],
    ids=["cifar10", "cifar10 with classes", "heads of 8", "one block a level", "eleven blocks"],
)
def test_the_same_weights_give_the_same_output(config: dict[str, Any]) -> None:
    reference = theirs(config)
    net = ours(reference)
    if config is CIFAR10:
        assert sum(p.numel() for p in net.parameters()) == 35_746_307
    x, t = torch.randn(3, 3, 32, 32), torch.tensor([0, 417, 999])
    labels = torch.tensor([0, 7, 10]) if net.classes else None
    with torch.no_grad():
        wanted = reference(x, t, class_labels=labels).sample
        torch.testing.assert_close(net(x, t, labels), wanted, rtol=1e-5, atol=1e-5)


def aged(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict as older releases saved it."""
    for new, old in (("q", "query"), ("k", "key"), ("v", "value"), ("out.0", "proj_attn")):
        state = {key.replace(f".to_{new}.", f".{old}."): value for key, value in state.items()}
    return state


def test_older_names_of_the_attention_are_known() -> None:
    reference = theirs(SMALL)
    state = aged(reference.state_dict())
    assert "up_blocks.0.attentions.2.proj_attn.bias" in state
    got, wanted = unet_weights(state), ours(reference).state_dict()
    assert got.keys() == wanted.keys()
    assert all(torch.equal(got[key], value) for key, value in wanted.items())


@LAYOUTS
def test_the_same_weights_give_the_same_gradients(layout: torch.memory_format) -> None:
    reference = theirs(WIDE)
    net = ours(reference, layout)
    x, t = torch.randn(2, 3, 32, 32), torch.tensor([3, 700])
    slope = torch.randn_like(x)
    net(x, t).backward(slope)
    reference(x, t).sample.backward(slope)
    grads = unet_weights({k: p.grad for k, p in reference.named_parameters()})
    for name, weight in net.named_parameters():
        bound = 1e-4 * float(grads[name].abs().max())
        torch.testing.assert_close(weight.grad, grads[name], rtol=0, atol=bound)


@LAYOUTS
def test_bf16_loses_no_more_than_autocast_does_there(layout: torch.memory_format) -> None:
    def error(got: Tensor, wanted: Tensor) -> float:
        return float((got.float() - wanted).norm() / wanted.norm())

    mine, other = 0.0, 0.0
    for seed in range(3):
        reference = theirs(WIDE, seed)
        net = ours(reference, layout)
        x, t = torch.randn(4, 3, 32, 32), torch.tensor([3, 200, 600, 900])
        with torch.no_grad():
            wanted = net(x, t)
            mine += error(net.for_inference(torch.bfloat16)(x, t), wanted)
            with torch.autocast("cpu", torch.bfloat16):
                other += error(reference(x, t).sample, wanted)
    assert 0 < mine <= 1.02 * other


def test_a_pipelines_folder_is_loaded_whole(tmp_path: Path) -> None:
    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")
    DDPMPipeline(theirs(SMALL), scheduler).save_pretrained(tmp_path)
    pipe = mz.load(tmp_path)
    assert pipe.prediction == "v"
    assert pipe.shape == (3, 16, 16)
    torch.testing.assert_close(pipe.schedule.alpha, mz.cosine(1000).alpha)
    images = pipe.sample(2, steps=2)
    assert images.dtype == torch.uint8
    assert images.shape == (2, 3, 16, 16)


@pytest.mark.parametrize("index", [True, False], ids=["a pipeline", "no pipeline"])
def test_so_is_one_whose_files_lie_side_by_side(tmp_path: Path, index: bool) -> None:
    reference = theirs(SMALL)
    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")
    DDPMPipeline(reference, scheduler).save_pretrained(tmp_path)
    for folder in (tmp_path / "unet", tmp_path / "scheduler"):
        for file in folder.iterdir():
            file.rename(tmp_path / file.name)
        folder.rmdir()
    if not index:
        (tmp_path / "model_index.json").unlink()
    pipe = mz.load(tmp_path)
    state = pipe.net.state_dict()
    assert all(
        torch.equal(state[key], value) for key, value in ours(reference).state_dict().items()
    )
    assert pipe.prediction == "v"
    torch.testing.assert_close(pipe.schedule.alpha, mz.cosine(1000).alpha)


@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize(
    "config",
    [
        {"beta_schedule": "linear"},
        {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
        {"beta_schedule": "scaled_linear"},
        {"beta_schedule": "squaredcos_cap_v2"},
        {"beta_schedule": "linear", "num_train_timesteps": 50, "beta_end": 0.3},
    ],
    ids=lambda config: " ".join(map(str, config.values())),
)
def test_a_schedulers_table_is_read(config: dict[str, Any], rescale: bool) -> None:
    config = config | {"prediction_type": "v_prediction", "rescale_betas_zero_snr": rescale}
    scheduler = DDIMScheduler(**config)
    table, prediction = schedule(dict(scheduler.config))
    assert prediction == "v"
    assert (table.alpha[-1] == 0) == rescale
    wanted = scheduler.alphas_cumprod.double()
    torch.testing.assert_close(table.alpha[1:] ** 2, wanted, rtol=1e-3, atol=1e-7)


def test_a_schedule_without_a_counterpart_is_refused() -> None:
    with pytest.raises(mz.UserError, match=r"pure noise .* it must predict v or the sample$"):
        schedule({"rescale_betas_zero_snr": True, "prediction_type": "epsilon"})
    with pytest.raises(mz.UserError, match="trained_betas"):
        schedule({"trained_betas": [0.1, 0.2]})
    with pytest.raises(mz.UserError, match="none of linear, scaled_linear, squaredcos_cap_v2"):
        schedule({"beta_schedule": "sigmoid"})


@pytest.mark.parametrize("kind", [FlowMatchEulerDiscreteScheduler, EDMEulerScheduler])
def test_a_scheduler_without_betas_is_refused(tmp_path: Path, kind: Any) -> None:
    DDPMPipeline(theirs(SMALL), kind()).save_pretrained(tmp_path)
    message = f"the scheduler is {kind.__name__}, without a beta_schedule: give a model of one that"
    with pytest.raises(mz.UserError, match=message):
        mz.load(tmp_path)


def test_a_loaded_pipeline_makes_the_pictures_that_diffusers_makes(tmp_path: Path) -> None:
    reference = theirs(SMALL)
    DDPMPipeline(reference, DDPMScheduler()).save_pretrained(tmp_path)
    pipe = mz.load(tmp_path)
    start = torch.randn(2, 3, 16, 16)
    scheduler, x = DDIMScheduler(clip_sample=True), start
    scheduler.set_timesteps(10)
    denoise = pipe.denoiser()
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = scheduler.step(
                reference(x, t).sample, t, x, use_clipped_model_output=True
            ).prev_sample
        got = mz.SAMPLERS["ddim"](denoise, start, pipe.schedule.grid(10, spacing="leading"))
    torch.testing.assert_close(got, x, rtol=1e-4, atol=1e-4)


def test_a_bare_network_is_loaded_with_ddpms_schedule(tmp_path: Path) -> None:
    theirs(SMALL | {"num_class_embeds": 4}).save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match="taken as 3 classes and, in the last row, the null"):
        pipe = mz.load(tmp_path)
    assert pipe.classes == ("class 0", "class 1", "class 2")
    torch.testing.assert_close(pipe.schedule.alpha, mz.linear(1000).alpha)


def test_every_setting_without_a_counterpart_is_named() -> None:
    config = dict(UNet2DModel(**SMALL | {"flip_sin_to_cos": True, "norm_eps": 1e-5}).config)
    with pytest.raises(mz.UserError, match="flip_sin_to_cos = True, norm_eps = 1e-05"):
        unet_settings(config)
    with pytest.raises(mz.UserError, match="not the mirror"):
        unet_settings(SMALL | {"up_block_types": ("UpBlock2D", "AttnUpBlock2D")})


def test_missing_and_extra_weights_are_named(tmp_path: Path) -> None:
    theirs(SMALL).save_pretrained(tmp_path)
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    from safetensors.torch import load_file, save_file

    weights = load_file(path)
    weights["surplus"] = weights.pop("conv_in.bias")
    save_file(weights, path)
    with pytest.raises(mz.UserError, match=r"missing or extra weights: stem\.bias, surplus"):
        mz.load(tmp_path)


def test_another_kind_of_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "UNet2DConditionModel"}))
    with pytest.raises(mz.UserError, match="UNet2DConditionModel"):
        mz.load(tmp_path)
