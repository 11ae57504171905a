from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DDIMScheduler,
    DiTPipeline,
    DiTTransformer2DModel,
)
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import mezzotint as mz
from mezzotint.interop.folder import unmatched
from mezzotint.interop.vae import (
    Foreign,
    read_vae,
    tiny_settings,
    tiny_weights,
    vae_settings,
    vae_state,
    vae_weights,
    write_vae,
)
from mezzotint.networks import VAE, TinyVAE, TinyVAEConfig, VAEConfig
from mezzotint.networks.vae import kl_divergence, posterior_sample

diffusers.utils.logging.set_verbosity_error()


def settings(*widths: int, **more: Any) -> dict[str, Any]:
    """Return the settings of an AutoencoderKL with a level for each width."""
    return {
        "block_out_channels": widths,
        "down_block_types": ("DownEncoderBlock2D",) * len(widths),
        "up_block_types": ("UpDecoderBlock2D",) * len(widths),
        "norm_num_groups": 8,
        **more,
    }


F4 = settings(16, 32, 32)
CONFIGS = {
    "f1": settings(16),
    "f2": settings(16, 32, layers_per_block=2),
    "f4": F4,
    "f8": settings(16, 32, 64, 64),
    "eleven blocks": settings(16, 32, layers_per_block=11),
    "no attention": settings(16, 32, mid_block_add_attention=False),
    "16 latent channels, no 1x1": settings(
        16, 32, latent_channels=16, use_quant_conv=False, use_post_quant_conv=False
    ),
    "a latent for grey": settings(16, 32, in_channels=1, out_channels=1, latent_channels=1),
    "one 1x1": settings(16, 32, use_post_quant_conv=False),
}
configs = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


def theirs(config: dict[str, Any]) -> AutoencoderKL:
    """Make an AutoencoderKL with random weights, also in its norms."""
    torch.manual_seed(0)
    net = AutoencoderKL(**config).eval()
    for layer in net.modules():
        if isinstance(layer, nn.GroupNorm):
            nn.init.normal_(layer.weight, 1, 0.2)
            nn.init.normal_(layer.bias, 0, 0.2)
    return net


def ours(reference: AutoencoderKL) -> tuple[VAE, dict[str, Any]]:
    """Return the same network in mezzotint, and its settings."""
    fields, channels, _ = vae_settings(dict(reference.config))
    net = VAE(VAEConfig(**fields), channels).eval()
    net.load_state_dict(vae_weights(reference.state_dict(), fields))
    return net, fields


def close(got: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


PAPERS = settings(128, 256, 512, layers_per_block=2, norm_num_groups=32)


@torch.no_grad()
@configs
@pytest.mark.parametrize(
    "layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "last"]
)
def test_the_same_weights_give_the_same_function(
    config: dict[str, Any], layout: torch.memory_format
) -> None:
    compare(theirs(config), layout)


@torch.no_grad()
def test_so_they_do_at_the_papers_width() -> None:
    compare(theirs(PAPERS))


def compare(
    reference: AutoencoderKL, layout: torch.memory_format = torch.contiguous_format
) -> None:
    net, _ = ours(reference)
    net.to(memory_format=layout)
    x = torch.randn(2, reference.config.in_channels, 32, 48).to(memory_format=layout)
    wanted = reference.encode(x).latent_dist
    mean, log_variance = net.encode(x)
    close(mean, wanted.mean)
    close(log_variance, wanted.logvar)
    torch.testing.assert_close(kl_divergence(mean, log_variance), wanted.kl(), rtol=1e-5, atol=1e-3)
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(5))
    z = posterior_sample(mean, log_variance, noise)
    close(z, wanted.sample(torch.Generator().manual_seed(5)))
    close(net.decode(z), reference.decode(z).sample)


def test_the_same_weights_give_the_same_gradients() -> None:
    reference = theirs(F4)
    net, fields = ours(reference)
    x = torch.randn(2, 3, 32, 32)
    z, _ = net.encode(x)
    net.decode(z).square().mean().backward()
    z = reference.encode(x).latent_dist.mean
    reference.decode(z).sample.square().mean().backward()
    grads = vae_weights({k: p.grad for k, p in reference.named_parameters()}, fields)
    for name, weight in net.named_parameters():
        bound = 1e-4 * float(grads[name].abs().max()) + 1e-8
        torch.testing.assert_close(weight.grad, grads[name], rtol=0, atol=bound)


@configs
def test_the_weights_go_there_and_back(config: dict[str, Any], tmp_path: Path) -> None:
    reference = theirs(config)
    net, fields = ours(reference)
    net.to(memory_format=torch.channels_last)
    state = vae_state(net.state_dict(), fields)
    reference.save_config(tmp_path)
    save_file(state, tmp_path / "diffusion_pytorch_model.safetensors")
    again = AutoencoderKL.from_pretrained(tmp_path, low_cpu_mem_usage=False).state_dict()
    wanted = reference.state_dict()
    assert state.keys() == again.keys() == wanted.keys()
    assert all(torch.equal(again[k], v) and torch.equal(state[k], v) for k, v in wanted.items())


def test_older_names_of_the_attention_are_known() -> None:
    reference = theirs(F4)
    net, fields = ours(reference)
    state = reference.state_dict()
    for new, old in (("q", "query"), ("k", "key"), ("v", "value"), ("out.0", "proj_attn")):
        state = {k.replace(f".to_{new}.", f".{old}."): v for k, v in state.items()}
    assert "encoder.mid_block.attentions.0.proj_attn.bias" in state
    got, wanted = vae_weights(state, fields), net.state_dict()
    assert got.keys() == wanted.keys()
    assert all(torch.equal(got[k], v) for k, v in wanted.items())


def test_a_key_without_a_counterpart_keeps_its_name_and_a_missing_one_is_named() -> None:
    reference = theirs(F4)
    fields = vae_settings(dict(reference.config))[0]
    state = reference.state_dict()
    state["encoder.surplus"] = torch.zeros(1)
    assert "encoder.surplus" in vae_weights(state, fields)
    del state["decoder.mid_block.attentions.0.to_k.bias"]
    with pytest.raises(
        mz.UserError, match=r"decoder\.mid_block\.attentions\.0\.to_k\.bias is missing"
    ):
        vae_weights(state, fields)


def test_an_empty_config_means_their_defaults() -> None:
    assert vae_settings({}) == vae_settings(dict(AutoencoderKL().config))
    assert tiny_settings({}) == tiny_settings(dict(AutoencoderTiny().config))


def test_scale_and_shift_are_read_for_each_channel() -> None:
    def scaling(**config: Any) -> Any:
        return vae_settings(config)[2]

    assert scaling() == ((0.18215,) * 4, (0.0,) * 4)
    assert scaling(scaling_factor=1.5305, shift_factor=0.0609) == ((1.5305,) * 4, (0.0609,) * 4)
    mean, std = [0.5, 0.0, -1.0, 2.0], [1.0, 2.0, 0.5, 4.0]
    assert scaling(scaling_factor=0.5, latents_mean=mean, latents_std=std) == (
        (0.5, 0.25, 1.0, 0.125),
        tuple(mean),
    )
    assert tiny_settings({})[2] == ((1.0,) * 4, (0.0,) * 4)


def test_a_scaling_by_nothing_is_refused() -> None:
    for config in ({"scaling_factor": 0.0}, {"latents_mean": [0.0], "latents_std": [0.0]}):
        with pytest.raises(mz.UserError, match="scaling_factor and latents_std must be above 0"):
            vae_settings(config)


@pytest.mark.parametrize(
    "config",
    [
        {"latents_mean": [0.0] * 4},
        {"latents_std": [1.0] * 4},
        {"latents_mean": [0.0] * 4, "latents_std": [1.0] * 3},
        {"latents_mean": [0.0] * 4, "latents_std": [1.0] * 4, "shift_factor": 0.1},
    ],
    ids=["no deviation", "no mean", "another number of them", "and a shift"],
)
def test_a_scaling_that_contradicts_itself_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(mz.UserError, match="latents_mean and latents_std must be given together"):
        vae_settings(config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"act_fn": "gelu"}, "act_fn = 'gelu'"),
        ({"out_channels": 1}, "out_channels = 1"),
        ({"down_block_types": ["AttnDownEncoderBlock2D"] * 3}, r"down_block_types = \['Attn"),
        ({"up_block_types": ["UpDecoderBlock2D"] * 2}, "up_block_types = "),
        ({"norm_type": "spatial"}, r"norm_type = 'spatial' \(unknown\)"),
        ({"act_fn": "relu", "out_channels": 4}, "act_fn = 'relu', out_channels = 4; give"),
    ],
)
def test_every_setting_without_a_counterpart_is_named(change: dict, message: str) -> None:
    with pytest.raises(mz.UserError, match=f"these settings of an AutoencoderKL: {message}"):
        vae_settings(F4 | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"act_fn": "mish"}, "act_fn = 'mish'"),
        ({"upsample_fn": "bilinear"}, "upsample_fn = 'bilinear'"),
        ({"upsampling_scaling_factor": 4}, "upsampling_scaling_factor = 4"),
        ({"num_decoder_blocks": [3, 1]}, "num_decoder_blocks = "),
        ({"decoder_block_out_channels": [64, 64, 64, 32]}, "block_out_channels = .*not one width"),
    ],
)
def test_the_tiny_ones_too(change: dict, message: str) -> None:
    with pytest.raises(mz.UserError, match=f"these settings of an AutoencoderTiny: {message}"):
        tiny_settings(change)


@torch.no_grad()
@pytest.mark.parametrize(
    "config",
    [
        {},
        {"latent_channels": 16},
        {
            "encoder_block_out_channels": (16, 16, 16),
            "decoder_block_out_channels": (16, 16, 16),
            "num_encoder_blocks": (2, 1, 3),
            "num_decoder_blocks": (1, 3, 2),
        },
    ],
    ids=["taesd", "16 latent channels", "f4"],
)
def test_the_tiny_ones_weights_give_the_same_function(config: dict[str, Any]) -> None:
    torch.manual_seed(0)
    reference = AutoencoderTiny(**config).eval()
    fields, channels, _ = tiny_settings(dict(reference.config))
    net = TinyVAE(TinyVAEConfig(**fields), channels)
    net.load_state_dict(tiny_weights(reference.state_dict()))
    x = torch.randn(2, 3, 32, 48)
    z, _ = net.encode(x)
    close(z, reference.encode(x).latents)
    z = 4 * torch.randn_like(z)
    close(net.decode(z), reference.decode(z).sample)


def built(foreign: Foreign) -> VAE | TinyVAE:
    """Build a network from what was read, and check that the names of the weights match."""
    net: VAE | TinyVAE
    if foreign.kind == "kl":
        net = VAE(VAEConfig(**foreign.fields), foreign.channels)
    else:
        net = TinyVAE(TinyVAEConfig(**foreign.fields), foreign.channels)
    assert unmatched(foreign.weights, net.state_dict()) is None
    net.load_state_dict(foreign.weights)
    return net


@torch.no_grad()
def test_a_saved_folder_is_read(tmp_path: Path) -> None:
    reference = theirs(F4 | {"scaling_factor": 0.5, "shift_factor": 0.25})
    reference.save_pretrained(tmp_path)
    foreign = read_vae(tmp_path)
    assert (foreign.kind, foreign.channels) == ("kl", 3)
    assert (foreign.scale, foreign.shift) == ((0.5,) * 4, (0.25,) * 4)
    net, x = built(foreign), torch.randn(2, 3, 16, 24)
    z, _ = net.encode(x)
    close(z, reference.encode(x).latent_dist.mean)
    close(net.decode(z), reference.decode(z).sample)


@torch.no_grad()
def test_a_saved_folder_of_the_tiny_one_is_read(tmp_path: Path) -> None:
    torch.manual_seed(0)
    reference = AutoencoderTiny()
    reference.save_pretrained(tmp_path)
    foreign = read_vae(tmp_path)
    assert (foreign.kind, foreign.scale, foreign.shift) == ("tiny", (1.0,) * 4, (0.0,) * 4)
    net, x = built(foreign), torch.randn(1, 3, 16, 24)
    z, _ = net.encode(x)
    close(z, reference.encode(x).latents)
    close(net.decode(z), reference.decode(z).sample)


@pytest.mark.parametrize(
    "how",
    [{"variant": "fp16"}, {"safe_serialization": False}, {"max_shard_size": "50KB"}],
    ids=["a variant", "pickled", "in parts"],
)
def test_so_are_its_weights_in_every_file_that_diffusers_writes(tmp_path: Path, how: dict) -> None:
    reference = theirs(F4)
    reference.save_pretrained(tmp_path, **how)
    assert not (tmp_path / "diffusion_pytorch_model.safetensors").exists()
    got, wanted = built(read_vae(tmp_path)).state_dict(), ours(reference)[0].state_dict()
    assert all(torch.equal(got[k], v) for k, v in wanted.items())


def test_so_is_a_pipelines(tmp_path: Path) -> None:
    net = DiTTransformer2DModel(num_attention_heads=1, attention_head_dim=8, num_layers=1)
    reference = theirs(F4)
    DiTPipeline(net, reference, DDIMScheduler()).save_pretrained(tmp_path)
    got, wanted = built(read_vae(tmp_path)).state_dict(), ours(reference)[0].state_dict()
    assert all(torch.equal(got[k], v) for k, v in wanted.items())


@torch.no_grad()
@pytest.mark.parametrize(
    "config",
    [
        VAEConfig(channels=(8, 16, 16), blocks=1, groups=4),
        VAEConfig(channels=(8, 16), groups=8, latent=3, attention=False, quant=False),
    ],
    ids=["f4", "without attention"],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_diffusers_reads_what_is_written(config: VAEConfig, channels: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = VAE(config, channels).to(memory_format=torch.channels_last)
    scale, shift = (0.5,) * config.latent, (0.25,) * config.latent
    write_vae(tmp_path / "new", asdict(config), channels, net.state_dict(), scale, shift)
    reference, told = AutoencoderKL.from_pretrained(tmp_path / "new", output_loading_info=True)
    assert not any(told.values())
    assert reference.config.scaling_factor == 0.5
    assert reference.config.shift_factor == 0.25
    net, reference = net.double(), reference.double()
    x = torch.randn(2, channels, 16, 24, dtype=torch.float64)
    mean, log_variance = net.encode(x)
    wanted = reference.encode(x).latent_dist
    close(mean, wanted.mean)
    close(log_variance, wanted.logvar)
    close(net.decode(mean), reference.decode(mean).sample)
    again = read_vae(tmp_path / "new")
    assert VAEConfig(**again.fields) == config
    assert (again.channels, again.scale, again.shift) == (channels, scale, shift)


def test_a_scale_for_each_channel_is_written_as_mean_and_deviation(tmp_path: Path) -> None:
    config = VAEConfig(channels=(8,), groups=8, latent=2)
    scale, shift = (0.5, 4.0), (0.0, -1.0)
    write_vae(tmp_path, asdict(config), 3, VAE(config).state_dict(), scale, shift)
    written = AutoencoderKL.from_pretrained(tmp_path).config
    assert (written.latents_mean, written.latents_std) == ([0.0, -1.0], [2.0, 0.25])
    assert written.scaling_factor == 1.0
    again = read_vae(tmp_path)
    assert (again.scale, again.shift) == (scale, shift)


def test_one_that_folds_pixels_is_not_written(tmp_path: Path) -> None:
    config = VAEConfig(channels=(8, 8), groups=4, patch=2)
    with pytest.raises(
        mz.UserError, match="folds 2x2 pixels into channels, which diffusers cannot do"
    ):
        write_vae(tmp_path, asdict(config), 3, VAE(config).state_dict(), [1.0], [0.0])
    assert not list(tmp_path.iterdir())


def test_missing_and_extra_weights_are_all_named(tmp_path: Path) -> None:
    theirs(F4).save_pretrained(tmp_path)
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    weights["surplus"] = weights.pop("decoder.conv_in.bias")
    save_file(weights, path)
    foreign = read_vae(tmp_path)
    wanted = VAE(VAEConfig(**foreign.fields)).state_dict()
    line = unmatched(foreign.weights, wanted)
    assert line == "weights are missing or superfluous: decoder.0.bias, surplus"


def test_folders_that_are_no_autoencoders_are_refused(tmp_path: Path) -> None:
    def refused(message: str) -> None:
        with pytest.raises(mz.UserError, match=message):
            read_vae(tmp_path)

    refused(r"config\.json is missing or is not a JSON object: save")
    config, path = tmp_path / "config.json", tmp_path / "diffusion_pytorch_model.safetensors"
    config.write_text("[]")
    refused(r"config\.json is missing or is not a JSON object: save")
    config.write_text(json.dumps({"_class_name": "VQModel"}))
    refused("holds a VQModel: give an AutoencoderKL or AutoencoderTiny$")
    config.write_text(json.dumps({"_class_name": "AutoencoderKL"}))
    refused(f"has no {path.name}, whole or in parts, and no .bin file: save the model with")
    path.write_bytes(b"half a file")
    refused(r"is damaged \(.*\): fetch or save it again$")
    save_file({}, path)
    config.write_text(json.dumps({"_class_name": "AutoencoderKL", "block_out_channels": 64}))
    refused(r"cannot be read as AutoencoderKL \(.*\): save or fetch it again")
    config.write_text(json.dumps({"_class_name": "AutoencoderKL", "scaling_factor": "q"}))
    refused(r"as AutoencoderKL \(could not convert string to float: 'q'\): save")
    config.write_text(json.dumps({"_class_name": "AutoencoderKL", "act_fn": "gelu"}))
    refused("these settings of an AutoencoderKL: act_fn = 'gelu'; give an autoencoder without")
    (tmp_path / "model_index.json").write_text("{}")
    refused(r"vae.config\.json is missing or is not a JSON object: save")
