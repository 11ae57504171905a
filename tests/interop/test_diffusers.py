"""Folders in the format of diffusers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    EDMEulerScheduler,
    FlowMatchEulerDiscreteScheduler,
    UNet2DModel,
    VQModel,
)
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file, save_file
from torch import Tensor

import mezzotint as mz
from mezzotint.interop.diffusers import saved_by_diffusers
from mezzotint.pipeline.loading import is_model
from theirs import ADM, DEFAULT, SMALL, ours, unet

COSINE = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}
TINY_VAE = {"block_out_channels": (16, 16), "norm_num_groups": 8} | {
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
}


def saved(folder: Path, config: dict[str, Any] = DEFAULT, **scheduler: Any) -> UNet2DModel:
    """Save a pipeline of random weights, and return its network."""
    net = unet(config)
    DDPMPipeline(net, DDPMScheduler(**scheduler)).save_pretrained(folder)
    return net


def same(pipe: mz.Pipeline, reference: UNet2DModel, rounding: float = 0.0) -> bool:
    """Return whether a pipeline has the weights of a network."""
    wanted = ours(reference).state_dict()
    state = pipe.net.state_dict()
    assert state.keys() == wanted.keys()
    return all(float((state[k] - v).abs().max()) <= rounding for k, v in wanted.items())


def is_cosine(pipe: mz.Pipeline) -> bool:
    return pipe.prediction == "v" and torch.allclose(pipe.schedule.alpha, mz.cosine(1000).alpha)


@pytest.mark.parametrize("config", [SMALL, DEFAULT, ADM], ids=["ddpm", "default", "adm"])
def test_a_pipelines_folder_is_loaded_whole(tmp_path: Path, config: dict[str, Any]) -> None:
    reference = saved(tmp_path, config, **COSINE)
    pipe = mz.load(tmp_path)
    assert is_cosine(pipe)
    assert same(pipe, reference)
    assert pipe.shape == (3, 16, 16)
    images = pipe.sample(2, steps=2)
    assert images.dtype == torch.uint8
    assert images.shape == (2, 3, 16, 16)


@pytest.mark.parametrize("config", [SMALL, DEFAULT, ADM], ids=["ddpm", "default", "adm"])
def test_it_is_saved_and_loaded_to_the_bit(tmp_path: Path, config: dict[str, Any]) -> None:
    saved(tmp_path / "theirs", config, clip_sample=False)
    pipe = mz.load(tmp_path / "theirs")
    again = mz.load(pipe.save(tmp_path / "ours"))
    assert again.defaults == pipe.defaults
    assert again.digest == pipe.digest
    assert torch.equal(again.sample(2, steps=2), pipe.sample(2, steps=2))


@pytest.mark.parametrize("index", [True, False], ids=["a pipeline", "no pipeline"])
def test_so_is_one_whose_files_lie_side_by_side(tmp_path: Path, index: bool) -> None:
    reference = saved(tmp_path, **COSINE)
    for folder in (tmp_path / "unet", tmp_path / "scheduler"):
        for file in folder.iterdir():
            file.rename(tmp_path / file.name)
        folder.rmdir()
    if not index:
        (tmp_path / "model_index.json").unlink()
    pipe = mz.load(tmp_path)
    assert same(pipe, reference)
    assert is_cosine(pipe)


def test_the_index_says_what_a_network_is_whose_config_does_not(tmp_path: Path) -> None:
    reference = saved(tmp_path)
    path = tmp_path / "unet" / "config.json"
    config = json.loads(path.read_text())
    del config["_class_name"]
    path.write_text(json.dumps(config))
    assert same(mz.load(tmp_path), reference)
    (tmp_path / "model_index.json").unlink()
    with pytest.raises(
        mz.UserError, match="unet holds a network of no stated class: give a UNet2DModel"
    ):
        mz.load(tmp_path)


# Where the scheduler is.


@pytest.mark.parametrize("place", ["unet", "elsewhere", "checkpoint-500/unet_ema"])
def test_the_scheduler_is_found_beside_and_above_a_network(tmp_path: Path, place: str) -> None:
    reference = saved(tmp_path, **COSINE)
    reference.save_pretrained(tmp_path / place)
    pipe = mz.load(tmp_path / place)
    assert same(pipe, reference)
    assert is_cosine(pipe)


def test_the_scheduler_may_stand_in_model_index(tmp_path: Path) -> None:
    saved(tmp_path)
    shutil.rmtree(tmp_path / "scheduler")
    index = json.loads((tmp_path / "model_index.json").read_text())
    settings = {"_class_name": "DDPMScheduler", **dict(DDPMScheduler(**COSINE).config)}
    (tmp_path / "model_index.json").write_text(json.dumps(index | {"scheduler": settings}))
    assert is_cosine(mz.load(tmp_path))
    assert is_cosine(mz.load(tmp_path / "unet"))


def test_a_scheduler_further_up_is_not_the_networks(tmp_path: Path) -> None:
    saved(tmp_path, **COSINE)
    unet(DEFAULT).save_pretrained(tmp_path / "other" / "model")
    with pytest.warns(
        UserWarning, match="no scheduler_config.json .* the defaults of DDPM are assumed"
    ):
        assert not is_cosine(mz.load(tmp_path / "other" / "model"))


def test_a_bare_network_is_loaded_with_ddpms_schedule_which_is_said(tmp_path: Path) -> None:
    unet(SMALL | {"num_class_embeds": 4}).save_pretrained(tmp_path)
    with (
        pytest.warns(UserWarning, match="the defaults of DDPM are assumed"),
        pytest.warns(UserWarning, match="its embedding is taken as 3 classes and, in the last row"),
    ):
        pipe = mz.load(tmp_path)
    assert pipe.classes == ("class 0", "class 1", "class 2")
    torch.testing.assert_close(pipe.schedule.alpha, mz.linear(1000).alpha)


def test_a_row_that_is_no_null_class_can_still_be_sampled(tmp_path: Path) -> None:
    reference = saved(tmp_path, DEFAULT | {"num_class_embeds": 4})
    with pytest.warns(
        UserWarning, match="if row 3 is a class as well, `guidance=0` samples that class"
    ):
        pipe = mz.load(tmp_path)
    x, level = torch.randn(2, 3, 16, 16), pipe.schedule.row(500)
    with torch.no_grad():
        wanted = reference(x, torch.tensor([499, 499]), class_labels=torch.tensor([3, 3])).sample
        got = pipe.denoiser([0, 1], guidance=0, clipping="none")(x, level)
    torch.testing.assert_close(got, mz.to_x0("eps", wanted, x, level), rtol=1e-3, atol=1e-3)


def test_a_size_that_is_left_out_is_assumed_and_said(tmp_path: Path) -> None:
    saved(tmp_path, DEFAULT | {"sample_size": None})
    with pytest.warns(UserWarning, match="has no sample_size: 32x32 is assumed"):
        assert mz.load(tmp_path).shape == (3, 32, 32)


# What the weights are in.


@pytest.mark.parametrize(
    "how",
    [
        {"variant": "fp16"},
        {"variant": "fp16", "safe_serialization": False},
        {"safe_serialization": False},
        {"max_shard_size": "200KB"},
        {"max_shard_size": "200KB", "variant": "fp16"},
        {"max_shard_size": "200KB", "safe_serialization": False},
    ],
    ids=lambda how: " ".join(f"{k}={v}" for k, v in how.items()),
)
def test_weights_are_read_from_every_file_that_diffusers_writes(
    tmp_path: Path, how: dict[str, Any]
) -> None:
    reference = unet(DEFAULT)
    reference.save_pretrained(tmp_path, **how)
    DDPMScheduler().save_pretrained(tmp_path)
    assert not (tmp_path / "diffusion_pytorch_model.safetensors").exists()
    assert same(mz.load(tmp_path), reference)


def test_half_precision_is_read_as_float32(tmp_path: Path) -> None:
    reference = unet(DEFAULT)
    unet(DEFAULT).half().save_pretrained(tmp_path, variant="fp16")
    DDPMScheduler().save_pretrained(tmp_path)
    pipe = mz.load(tmp_path)
    assert pipe.net.dtype == torch.float32
    assert same(pipe, reference, rounding=1e-3)
    assert not same(pipe, reference)


def test_plain_weights_come_before_a_variant_and_safetensors_before_a_pickle(tmp_path) -> None:
    DDPMScheduler().save_pretrained(tmp_path)
    unet(DEFAULT, seed=1).save_pretrained(tmp_path, variant="non_ema")
    unet(DEFAULT, seed=2).save_pretrained(tmp_path, safe_serialization=False)
    assert same(mz.load(tmp_path), unet(DEFAULT, seed=2))
    unet(DEFAULT, seed=3).save_pretrained(tmp_path)
    assert same(mz.load(tmp_path), unet(DEFAULT, seed=3))


def test_several_variants_are_not_chosen_from(tmp_path: Path) -> None:
    for variant in ("ema", "non_ema"):
        unet(DEFAULT).save_pretrained(tmp_path, variant=variant)
    with pytest.raises(mz.UserError, match="only as the variants ema, non_ema: keep the files of"):
        mz.load(tmp_path)


def test_weights_that_are_not_whole_are_refused(tmp_path: Path) -> None:
    unet(DEFAULT).save_pretrained(tmp_path, max_shard_size="200KB")
    shards = sorted(tmp_path.glob("*.safetensors"))
    shards[1].unlink()
    with pytest.raises(
        mz.UserError, match=f"lacks 1 of its {len(shards)} files.* {shards[1].name}"
    ):
        mz.load(tmp_path)
    index = tmp_path / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../elsewhere.safetensors"}}))
    with pytest.raises(mz.UserError, match=r"'\.\./elsewhere\.safetensors'"):
        mz.load(tmp_path)
    for damaged in ({}, {"weight_map": ["a"]}, {"weight_map": {"a": 1}}):
        index.write_text(json.dumps(damaged))
        with pytest.raises(mz.UserError, match="has no `weight_map`: fetch or save the model"):
            mz.load(tmp_path)
    index.unlink()
    for shard in shards:
        shard.unlink(missing_ok=True)
    with pytest.raises(mz.UserError, match=r"whole or in parts, and no \.bin"):
        mz.load(tmp_path)


class Evil:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("ran"),)


@pytest.mark.parametrize("content", [{"a": Evil()}, [1, 2], {"a": "text"}])
def test_no_code_is_run_of_a_pickle(tmp_path: Path, monkeypatch, content: Any) -> None:
    monkeypatch.chdir(tmp_path)
    unet(DEFAULT).save_pretrained(tmp_path)
    (tmp_path / "diffusion_pytorch_model.safetensors").unlink()
    torch.save(content, tmp_path / "diffusion_pytorch_model.bin")
    with pytest.raises(
        mz.UserError, match=r"more than tensors.*: save its tensors as safetensors$"
    ):
        mz.load(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_cut_pickle_is_refused(tmp_path: Path) -> None:
    unet(DEFAULT).save_pretrained(tmp_path, safe_serialization=False)
    file = tmp_path / "diffusion_pytorch_model.bin"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(mz.UserError, match="is damaged, or holds more than tensors"):
        mz.load(tmp_path)


def test_missing_and_extra_weights_are_named(tmp_path: Path) -> None:
    unet(SMALL).save_pretrained(tmp_path)
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    weights["surplus"] = weights.pop("conv_in.bias")
    save_file(weights, path)
    with pytest.raises(
        mz.UserError, match=r"weights are missing or superfluous: stem\.bias, surplus"
    ):
        mz.load(tmp_path)


def test_weights_that_do_not_go_with_the_settings_are_named_a_few_at_a_time(tmp_path: Path) -> None:
    unet(DEFAULT).save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    settings = json.loads(config.read_text())
    config.write_text(json.dumps(settings | {"block_out_channels": [32, 96]}))
    with pytest.raises(mz.UserError, match=r"shapes of weights contradict .* and \d+ more$") as e:
        mz.load(tmp_path)
    assert "\n" not in str(e.value)
    config.write_text(json.dumps(settings | {"layers_per_block": 2}))
    with pytest.raises(
        mz.UserError, match=r"weights are missing or superfluous: .* and \d+ more$"
    ) as e:
        mz.load(tmp_path)
    assert len(str(e.value).removeprefix(str(tmp_path))) < 300


@pytest.mark.parametrize(
    ("file", "setting"),
    [
        ("scheduler/scheduler_config.json", {"beta_start": "low"}),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": None}),
        ("unet/config.json", {"sample_size": -1}),
        ("unet/config.json", {"sample_size": [16]}),
        ("unet/config.json", {"block_out_channels": None}),
        ("unet/config.json", {"norm_num_groups": 7}),
        ("unet/config.json", {"down_block_types": [["DownBlock2D"], "AttnDownBlock2D"]}),
    ],
    ids=lambda case: "" if isinstance(case, str) else str(case),
)
def test_a_value_of_no_sense_is_refused_in_one_line(
    tmp_path: Path, file: str, setting: Any
) -> None:
    saved(tmp_path)
    settings = json.loads((tmp_path / file).read_text())
    (tmp_path / file).write_text(json.dumps(settings | setting))
    with pytest.raises(mz.UserError) as error:
        mz.load(tmp_path)
    assert "\n" not in str(error.value)


# What the example trainings write.


def trained(folder: Path, *steps: int) -> dict[int, UNet2DModel]:
    """Write checkpoints of a training with an average; the weights depend on the step."""
    nets = {}
    for step in steps:
        nets[step] = unet(DEFAULT, seed=step)
        ema = EMAModel(
            nets[step].parameters(), model_cls=UNet2DModel, model_config=nets[step].config
        )
        ema.save_pretrained(folder / f"checkpoint-{step}" / "unet_ema")
        unet(DEFAULT).save_pretrained(folder / f"checkpoint-{step}" / "unet")
    return nets


@pytest.mark.filterwarnings("ignore:.*(the defaults of DDPM are assumed|averaged weights in)")
def test_a_checkpoints_average_is_taken_and_the_newest_checkpoint(tmp_path: Path) -> None:
    nets = trained(tmp_path, 500, 1000, 60)
    with pytest.warns(UserWarning, match="averaged weights in .*checkpoint-500/unet_ema are used"):
        assert same(mz.load(tmp_path / "checkpoint-500"), nets[500])
    with pytest.warns(UserWarning, match="there are 3 checkpoints: the newest, .*-1000, is used"):
        assert same(mz.load(tmp_path), nets[1000])
    assert same(mz.load(tmp_path / "checkpoint-60" / "unet_ema"), nets[60])
    assert same(mz.load(tmp_path / "checkpoint-60" / "unet"), unet(DEFAULT))
    assert is_model(tmp_path)
    assert is_model(tmp_path / "checkpoint-60")
    assert not is_model(tmp_path / "nothing")


def test_the_pipeline_at_the_end_comes_before_the_checkpoints(tmp_path: Path) -> None:
    trained(tmp_path, 500)
    reference = saved(tmp_path, DEFAULT | {"layers_per_block": 2}, **COSINE)
    pipe = mz.load(tmp_path)
    assert same(pipe, reference)
    with pytest.warns(UserWarning, match="averaged"):
        assert is_cosine(mz.load(tmp_path / "checkpoint-500"))


def test_an_empty_checkpoint_is_none_of_theirs(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-500" / "logs").mkdir(parents=True)
    (tmp_path / "checkpoint-best").mkdir()
    assert not saved_by_diffusers(tmp_path)
    with pytest.raises(mz.UserError, match="is not a model: give a run, a checkpoint or a diff"):
        mz.load(tmp_path)


# How images are made with it.


@pytest.mark.parametrize("clips", [True, False])
@pytest.mark.parametrize("config", [SMALL, DEFAULT], ids=["ddpm", "default"])
def test_ddim_makes_the_images_that_diffusers_makes(
    tmp_path: Path, config: dict[str, Any], clips: bool
) -> None:
    reference = saved(tmp_path, config, clip_sample=clips)
    pipe = mz.load(tmp_path)
    assert pipe.defaults.clipping == ("static" if clips else "none")
    start = torch.randn(2, 3, 16, 16)
    scheduler, x = DDIMScheduler(clip_sample=clips), start
    scheduler.set_timesteps(10)
    denoise = pipe.denoiser(clipping=pipe.defaults.clipping)
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = scheduler.step(
                reference(x, t).sample, t, x, use_clipped_model_output=True
            ).prev_sample
        got = mz.SAMPLERS["ddim"](denoise, start, pipe.schedule.grid(10, spacing="leading"))
    torch.testing.assert_close(got, x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["fixed_small", "fixed_large", "learned_range"])
@pytest.mark.filterwarnings("ignore:.*variance_type is fixed_large")
def test_ddpm_makes_the_images_that_diffusers_makes(tmp_path: Path, kind: str) -> None:
    learned = kind == "learned_range"
    config = ADM | {"out_channels": 6 if learned else 3}
    reference = saved(tmp_path, config, num_train_timesteps=20, beta_end=0.3, variance_type=kind)
    pipe = mz.load(tmp_path)
    assert pipe.learned_variance == learned
    start, scheduler = (
        torch.randn(2, 3, 16, 16),
        DDPMScheduler.from_pretrained(tmp_path / "scheduler"),
    )
    generator, x = torch.Generator().manual_seed(7), start
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = scheduler.step(reference(x, t).sample, t, x, generator).prev_sample
    noise = torch.Generator().manual_seed(7)

    def randn(x: Tensor) -> Tensor:
        return torch.randn(x.shape, generator=noise)

    variance = pipe._split[1] if learned else kind.removeprefix("fixed_")
    with torch.no_grad():
        grid = pipe.schedule.grid(20)
        got = mz.SAMPLERS["ddpm"](pipe.denoiser(), start, grid, randn=randn, variance=variance)
    torch.testing.assert_close(got, x, rtol=1e-3, atol=1e-3)
    how = {"variance": "learned"} if learned else {}
    assert pipe.sample(2, sampler="ddpm", steps=4, **how).shape == (2, 3, 16, 16)


def test_the_default_steps_are_no_more_than_there_are(tmp_path: Path) -> None:
    saved(tmp_path, num_train_timesteps=20)
    pipe = mz.load(tmp_path)
    assert pipe.defaults.steps == 20
    assert pipe.sample(1).shape == (1, 3, 16, 16)
    with pytest.raises(mz.UserError, match="choose 1 to 20"):
        pipe.sample(1, steps=50)


@pytest.mark.parametrize("size", [15, (16, 13)])
@pytest.mark.parametrize("config", [SMALL, DEFAULT, ADM], ids=["ddpm", "default", "adm"])
def test_odd_sides_are_padded_and_cut(tmp_path: Path, config: dict[str, Any], size: Any) -> None:
    saved(tmp_path, config | {"sample_size": size})
    pipe = mz.load(tmp_path)
    height, width = (size, size) if isinstance(size, int) else size
    assert pipe.shape == (3, height, width)
    assert pipe.sample(2, steps=2).shape == (2, 3, height, width)


def test_a_grey_network_makes_grey_images(tmp_path: Path) -> None:
    saved(tmp_path, DEFAULT | {"in_channels": 1, "out_channels": 1})
    assert mz.load(tmp_path).sample(2, steps=2).shape == (2, 1, 16, 16)


# What is more than a network of pixels.


def latent(folder: Path, vae: Any, key: str = "vae", **config: Any) -> UNet2DModel:
    """Save a pipeline around an autoencoder."""
    channels = {"in_channels": 4, "out_channels": 4}
    reference = saved(folder, DEFAULT | channels | config, clip_sample=False)
    vae.save_pretrained(folder / key)
    index = json.loads((folder / "model_index.json").read_text())
    index[key] = ["diffusers", type(vae).__name__]
    (folder / "model_index.json").write_text(json.dumps(index))
    return reference


@pytest.mark.parametrize("key", ["vae", "vqvae"])
@pytest.mark.parametrize(
    "scaling",
    [
        {"scaling_factor": 0.5},
        {"scaling_factor": 0.5, "shift_factor": 0.25},
        {"latents_mean": [0.1, 0.2, 0.3, -0.4], "latents_std": [1.0, 2.0, 0.5, 1.5]},
    ],
    ids=["scale", "scale and shift", "mean and deviation"],
)
def test_a_pipeline_around_an_autoencoder_makes_its_images(
    tmp_path: Path, scaling: dict[str, Any], key: str
) -> None:
    torch.manual_seed(0)
    vae = AutoencoderKL(**TINY_VAE | scaling).eval()
    latent(tmp_path, vae, key)
    pipe = mz.load(tmp_path)
    assert pipe.shape == (4, 16, 16)
    assert pipe.size == (32, 32)
    assert pipe.sample(2, steps=2).shape == (2, 3, 32, 32)
    z = torch.randn(2, 4, 16, 16)
    if "latents_std" in scaling:  # as StableDiffusionXLPipeline does it
        mean, std = (torch.tensor(scaling[f"latents_{k}"])[:, None, None] for k in ("mean", "std"))
        raw = z * std / vae.config.scaling_factor + mean
    else:  # as StableDiffusion3Pipeline does it
        raw = z / vae.config.scaling_factor + (vae.config.shift_factor or 0)
    with torch.no_grad():
        wanted = (127.5 * (vae.decode(raw).sample + 1)).round().clamp(0, 255)
    assert (pipe.codec.decode(z).float() - wanted).abs().max() <= 1
    again = mz.load(pipe.save(tmp_path / "ours"))
    assert torch.equal(again.sample(2, steps=2), pipe.sample(2, steps=2))


@pytest.mark.parametrize("place", ["unet", "checkpoint-500/unet_ema"])
def test_so_does_the_network_inside_of_it(tmp_path: Path, place: str) -> None:
    reference = latent(tmp_path, AutoencoderKL(**TINY_VAE))
    reference.save_pretrained(tmp_path / place)
    assert mz.load(tmp_path / place).sample(1, steps=1).shape == (1, 3, 32, 32)


def test_a_grey_autoencoder_makes_grey_images(tmp_path: Path) -> None:
    latent(tmp_path, AutoencoderKL(in_channels=1, out_channels=1, **TINY_VAE))
    pipe = mz.load(tmp_path)
    assert pipe.sample(2, steps=1).shape == (2, 1, 32, 32)
    assert pipe.tiled(8).sample(2, steps=1).shape == (2, 1, 32, 32)
    again = mz.load(pipe.save(tmp_path / "ours"))
    assert again.sample(2, steps=1).shape == (2, 1, 32, 32)
    codec = mz.load_codec(tmp_path / "vae")
    grey = torch.zeros(2, 1, 32, 32, dtype=torch.uint8)
    assert codec.decode(codec.encode(grey)).shape == grey.shape
    with pytest.raises(mz.UserError, match="have 3 channels but the autoencoder needs 1: give"):
        codec.encode(grey.expand(-1, 3, -1, -1))


def test_an_autoencoder_of_other_latents_is_refused(tmp_path: Path) -> None:
    latent(tmp_path, AutoencoderKL(**TINY_VAE | {"latent_channels": 3}))
    with pytest.raises(mz.UserError, match="takes 4 channels, but the autoencoder's latents"):
        mz.load(tmp_path)


def test_a_codebook_is_refused(tmp_path: Path) -> None:
    latent(tmp_path, VQModel(**TINY_VAE), "vqvae")
    with pytest.raises(mz.UserError, match="vqvae holds a VQModel: give an AutoencoderKL"):
        mz.load(tmp_path)


def test_a_pipeline_of_more_parts_is_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    path = tmp_path / "model_index.json"
    index = json.loads(path.read_text())
    path.write_text(json.dumps(index | {"mel": [None, None], "requires_safety_checker": False}))
    assert mz.load(tmp_path).shape == (3, 16, 16)
    path.write_text(json.dumps(index | {"text_encoder": ["transformers", "CLIPTextModel"]}))
    with pytest.raises(mz.UserError, match="is a DDPMPipeline with text_encoder: give a pipeline"):
        mz.load(tmp_path)


def test_an_autoencoder_makes_no_images_of_noise(tmp_path: Path) -> None:
    AutoencoderKL(**TINY_VAE).save_pretrained(tmp_path)
    with pytest.raises(mz.UserError, match="which makes no images from noise"):
        mz.load(tmp_path)


def test_another_kind_of_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "UNet2DConditionModel"}))
    with pytest.raises(mz.UserError, match="UNet2DConditionModel"):
        mz.load(tmp_path)


@pytest.mark.parametrize("kind", [FlowMatchEulerDiscreteScheduler, EDMEulerScheduler])
def test_a_scheduler_without_betas_is_refused(tmp_path: Path, kind: Any) -> None:
    DDPMPipeline(unet(SMALL), kind()).save_pretrained(tmp_path)
    message = f"the scheduler is {kind.__name__}, which has no beta_schedule: give a model"
    with pytest.raises(mz.UserError, match=message):
        mz.load(tmp_path)
