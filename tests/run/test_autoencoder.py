"""The run of an autoencoder: its folder, interruptions, initial models, and loading."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import mezzotint as mz
from mezzotint import config as configuration
from mezzotint.config.experiment import Autoencoder
from mezzotint.data import prepare
from mezzotint.interop.folder import WEIGHTS
from mezzotint.interop.vae import write_vae
from mezzotint.networks import VAE, TinyVAE, TinyVAEConfig, VAEConfig
from mezzotint.pipeline.loading import load_codec
from mezzotint.processes import Share
from mezzotint.run import Interrupted, run
from mezzotint.run.autoencoder import AutoencoderJob, settled
from mezzotint.storage import checkpoint
from mezzotint.storage.log import read
from mezzotint.trainer.autoencoding import ReconstructionConfig

from trainings import assert_same, curve, finish

CPU = torch.device("cpu")
PLAYING = ReconstructionConfig(
    perceptual=0.1,
    perceptual_network="glyphs",
    adversarial=0.5,
    adversarial_from=48,
    discriminator_width=8,
    discriminator_layers=1,
)
NET = VAEConfig(channels=(8, 16), blocks=1, groups=4, latent=3)  # another than the tiny one's


@pytest.fixture
def tiny_vae(trained_vae: Path) -> Autoencoder:
    """The configuration of `trained_vae`: 12 steps of 8 glyphs, saved after steps 6 and 12."""
    found = configuration.read(trained_vae / "config.json")
    assert isinstance(found, Autoencoder)
    return found


def glyphs() -> torch.Tensor:
    """The training set, uint8 (100, 3, 32, 32)."""
    return torch.from_numpy(np.array(prepare("glyphs").images)).permute(0, 3, 1, 2)


def stopped(experiment: Autoencoder, folder: Path, steps: int, number: int = 0) -> None:
    """Train so many steps, and end by a signal or, without one, like a crash."""
    running = run(experiment, folder)
    for _ in range(steps if number else 1 + steps):
        next(running)
    if number:
        os.kill(os.getpid(), number)
        next(running)
        with pytest.raises(Interrupted):
            next(running)
    running.close()


def test_a_run_folder_holds_what_it_should(trained_vae: Path, tiny_vae: Autoencoder) -> None:
    assert json.loads((trained_vae / "config.json").read_text())["kind"] == "autoencoder"
    rows = read(trained_vae / "log.jsonl")
    assert [row["step"] for row in rows] == [3, 6, 9, 12]
    named = {"step", "images", "loss", "kl", "grad_norm", "lr", "images_per_second"}
    assert all(row.keys() == named for row in rows)
    assert rows[-1]["loss"] < rows[0]["loss"]
    kept = checkpoint.listed(trained_vae / "checkpoints")
    assert [folder.name for folder in kept] == ["step-6", "step-12"]
    assert {path.name for path in kept[1].iterdir()} == {
        "codec.safetensors", "config.json", "ema.safetensors", "manifest.json",
        "net.safetensors", "optimizer.safetensors", "state.json",
    }  # fmt: skip
    with Image.open(trained_vae / "samples" / "000000096.png") as sheet:
        columns, rows_of_pairs = 10, 4  # 40 of the 60 that are held out, each above its copy
        assert sheet.width // (96 + 2) == columns
        assert sheet.height // (96 + 2) == 2 * rows_of_pairs


@pytest.mark.parametrize("steps", [4, 7])
def test_a_crash_and_a_resume_leave_no_trace(trained_vae, tiny_vae, tmp_path, steps) -> None:
    stopped(tiny_vae, tmp_path / "run", steps)
    torch.manual_seed(99)
    finish(tiny_vae, tmp_path / "run", resume=True)
    assert_same(trained_vae, tmp_path / "run")


def test_a_signal_saves_the_step_and_a_resume_leaves_no_trace(trained_vae, tiny_vae, tmp_path):
    stopped(tiny_vae, tmp_path / "run", 5, signal.SIGINT)
    assert checkpoint.listed(tmp_path / "run" / "checkpoints")[-1].name == "step-5"
    finish(tiny_vae, tmp_path / "run", resume=True)
    assert_same(trained_vae, tmp_path / "run")


def test_a_resume_is_exact_with_a_discriminator(tiny_vae, tmp_path) -> None:
    """The training stops before the discriminator starts, when it starts, and later."""
    playing = replace(tiny_vae, loss=PLAYING)
    finish(playing, tmp_path / "whole")
    for steps in (4, 6, 9):
        folder = tmp_path / str(steps)
        stopped(playing, folder, steps, signal.SIGTERM)
        assert checkpoint.listed(folder / "checkpoints")[-1].name == f"step-{steps}"
        finish(playing, folder, resume=True)
        assert_same(tmp_path / "whole", folder)
    assert (tmp_path / "whole" / "checkpoints" / "step-12" / "task.safetensors").exists()
    rows = read(tmp_path / "whole" / "log.jsonl")
    assert ["discriminator" in row for row in rows] == [False, False, True, True]
    assert all("perceptual" in row for row in rows)


def test_a_resume_is_exact_with_augmentation_and_accumulation(tiny_vae, tmp_path) -> None:
    pytest.importorskip("kornia")
    full = replace(
        tiny_vae,
        data=replace(tiny_vae.data, flip=True, augment=("crop", "colour", "randaugment", "cutmix")),
        train=replace(tiny_vae.train, images=64, accumulate=2),
        save_every=24,
    )
    finish(full, tmp_path / "whole")
    stopped(full, tmp_path / "run", 5)
    torch.manual_seed(99)
    finish(full, tmp_path / "run", resume=True)
    assert_same(tmp_path / "whole", tmp_path / "run")


def assert_begins_as(experiment: Autoencoder, folder: Path, vae: torch.nn.Module) -> None:
    """Check the initial network, weights and reconstruction, also those of the average."""
    job = AutoencoderJob(settled(experiment, folder, None), CPU, None)
    x = glyphs()[:4].float() / 127.5 - 1
    with torch.no_grad():
        wanted = vae.decode(vae.encode(x)[0])
        for net in (job.state.net, job.codec.vae):
            assert net.config == vae.config
            assert torch.equal(net.decode(net.encode(x)[0]), wanted)


@pytest.mark.parametrize("part", ["", "checkpoints/step-6"])
def test_it_begins_with_the_network_and_weights_of_a_run(trained_vae, tiny_vae, tmp_path, part):
    init = trained_vae / part
    other = replace(tiny_vae, init=str(init), net=NET, train=replace(tiny_vae.train, seed=5))
    assert_begins_as(other, tmp_path / "run", load_codec(init).vae)


def test_it_begins_with_what_diffusers_saved(tiny_vae, tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(1)
    theirs = diffusers.AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
    ).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    begun = replace(tiny_vae, init=str(tmp_path / "theirs"))
    assert_begins_as(begun, tmp_path / "run", load_codec(tmp_path / "theirs").vae)
    job = AutoencoderJob(settled(begun, tmp_path / "run", None), CPU, None)
    x = glyphs()[:4].float() / 127.5 - 1
    with torch.no_grad():
        wanted = theirs.decode(theirs.encode(x).latent_dist.mode()).sample
        made = job.state.net.decode(job.state.net.encode(x)[0])
    torch.testing.assert_close(made, wanted, rtol=1e-4, atol=1e-4)


def test_of_a_tuned_decoder_the_encoder_stays_and_its_beginning_may_go(
    trained_vae, tiny_vae, tmp_path
) -> None:
    before = load_file(trained_vae / "checkpoints" / "step-12" / "ema.safetensors")
    tuned = replace(
        tiny_vae, init=str(trained_vae), net=NET, loss=ReconstructionConfig(tune="decoder")
    )
    finish(tuned, tmp_path / "whole")
    assert configuration.read(tmp_path / "whole" / "config.json").net == tiny_vae.net
    for name in ("net", "ema"):
        after = load_file(tmp_path / "whole" / "checkpoints" / "step-12" / f"{name}.safetensors")
        same = {key for key in after if torch.equal(before[key], after[key])}
        kept = {key for key in after if key.startswith(("encoder.", "quant."))}
        assert same == kept, "the encoder's all, and of the decoder none"
    stopped(tuned, tmp_path / "run", 7)
    shutil.rmtree(trained_vae)
    finish(tuned, tmp_path / "run", resume=True)
    assert_same(tmp_path / "whole", tmp_path / "run")


def test_a_run_that_came_to_nothing_may_begin_from_another_network(
    trained_vae, tiny_vae, tmp_path
) -> None:
    stopped(replace(tiny_vae, net=NET), tmp_path / "run", 2)
    stopped(replace(tiny_vae, net=NET), tmp_path / "run2", 8)
    begun = replace(tiny_vae, init=str(trained_vae), train=replace(tiny_vae.train, images=16))
    finish(begun, tmp_path / "run", resume=True)
    assert configuration.read(tmp_path / "run" / "config.json").net == tiny_vae.net
    with pytest.raises(mz.UserError, match='was begun with `init=""`, not '):
        finish(begun, tmp_path / "run2", resume=True)


def test_another_network_than_that_of_init_is_refused(trained_vae, tiny_vae, tmp_path) -> None:
    training = partial(mz.training, tiny_vae, out=tmp_path / "run", init=str(trained_vae))
    with pytest.raises(mz.UserError, match="`latent` has no effect with `init`"):
        training(latent=tiny_vae.net.latent)
    with pytest.raises(mz.UserError, match="`net` has no effect with `init`"):
        training(net=NET)


def test_a_taesd_is_no_beginning(tiny_vae, tiny_ldm, tmp_path: Path) -> None:
    folder, blocks = tmp_path / "taesd", {"encoder": (1, 1), "decoder": (1, 1)}
    folder.mkdir()
    weights = TinyVAE(TinyVAEConfig(width=8, **blocks)).state_dict()
    theirs = {key.replace("coder.", "coder.layers."): value for key, value in weights.items()}
    save_file(theirs, folder / WEIGHTS)
    config = {f"num_{side}_blocks": many for side, many in blocks.items()}
    config |= {f"{side}_block_out_channels": (8, 8) for side in blocks}
    (folder / "config.json").write_text(json.dumps({"_class_name": "AutoencoderTiny", **config}))
    with pytest.raises(mz.UserError, match="is a TAESD, which mezzotint cannot train"):
        finish(replace(tiny_vae, init=str(folder)), tmp_path / "run")
    assert load_codec(folder).latent_shape((3, 32, 32)) == (4, 16, 16)
    with pytest.raises(mz.UserError, match="is a TAESD, whose latents have no variance"):
        mz.train(tiny_ldm, vae=str(folder), posterior="sample", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_autoencoder_of_grey_images_is_no_beginning(tiny_vae, tmp_path: Path) -> None:
    config, theirs = VAEConfig(channels=(8,), groups=8), tmp_path / "grey"
    write_vae(theirs, asdict(config), 1, VAE(config, 1).state_dict(), [1.0], [0.0])
    with pytest.raises(
        mz.UserError,
        match="autoencoder for images with 1 channel, but the images of the data have 3",
    ):
        finish(replace(tiny_vae, init=str(theirs)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("part", ["", "checkpoints/step-12"])
def test_it_is_no_pipeline_and_says_what_to_do(trained_vae: Path, part: str) -> None:
    with pytest.raises(mz.UserError, match=r"is an autoencoder.*with `vae=\S+`$") as refused:
        mz.load(trained_vae / part)
    assert "\n" not in str(refused.value)


def test_its_codec_scales_the_training_sets_latents_to_unit_variance(trained_vae: Path) -> None:
    codec, images = load_codec(trained_vae), glyphs()
    mean, std = codec.moments(images)
    assert mean.shape == (100, 4, 8, 8)
    torch.manual_seed(0)
    raw = torch.cat([mean + std * torch.randn_like(std) for _ in range(20)])
    torch.testing.assert_close(codec.mean, raw.mean((0, 2, 3)), rtol=0.02, atol=0.01)
    torch.testing.assert_close(codec.std, raw.std((0, 2, 3)), rtol=0.02, atol=0)
    made = codec.decode(codec.encode(images[:5]))
    assert (made.dtype, made.shape) == (torch.uint8, (5, 3, 32, 32))
    ema = load_file(trained_vae / "checkpoints" / "step-12" / "ema.safetensors")
    assert all(torch.equal(codec.vae.state_dict()[key], ema[key]) for key in ema)


def test_the_curve_goes_to_the_log_and_the_best_average_is_kept(tiny_vae, tmp_path) -> None:
    finish(replace(tiny_vae, evaluate_every=32, evaluate_samples=40), tmp_path / "run")
    found = curve(tmp_path / "run")
    assert [(step, name) for step, name, _, _ in found] == [
        (4, "fd-glyphs"), (8, "fd-glyphs"), (12, "fd-glyphs"),
    ]  # fmt: skip
    best = tmp_path / "run" / "checkpoints" / "best"
    state = json.loads((best / "state.json").read_text())
    assert state["step"] == min(found, key=lambda row: row[2])[0]
    codec = load_codec(best)
    assert codec.decode(codec.encode(glyphs()[:2])).shape == (2, 3, 32, 32)
    if state["step"] == 12:
        assert codec.digest == load_codec(tmp_path / "run").digest


def test_too_few_images_for_a_measurement_are_refused_at_once(tiny_vae, tmp_path) -> None:
    few = mz.prepare(np.zeros((9, 16, 16, 3), np.uint8))
    with pytest.raises(mz.UserError, match="needs 10 held-out images or more, but the data has 9"):
        next(mz.training(tiny_vae, data=few, out=tmp_path / "run", evaluate_every=8))


def test_every_process_meets_the_others_once_while_it_is_measured(tiny_vae) -> None:
    """Otherwise a signal in one process would leave the others waiting for ever."""
    job = AutoencoderJob(replace(tiny_vae, evaluate_samples=10), CPU, None)
    measure, met = job.measure(), []
    for number in (0, 1):
        share = Share(number, 2, lambda number=number: met.append(number))
        figures = job.distance(measure, Path(), share, lambda *_: None)
        assert bool(figures) == (number == 0)
    assert met == [0, 1]


def test_images_that_the_factor_does_not_divide_are_padded_and_cut(tiny_vae, tmp_path) -> None:
    odd = replace(tiny_vae, data=replace(tiny_vae.data, size=30))
    finish(odd, tmp_path / "run")
    images = torch.zeros(2, 3, 30, 30, dtype=torch.uint8)
    codec = load_codec(tmp_path / "run").of_size(30, 30)
    assert codec.decode(codec.encode(images)).shape == images.shape


def test_pictures_too_small_for_the_discriminator_are_refused_before_the_training(
    tiny_vae, tmp_path
) -> None:
    late = replace(PLAYING, adversarial_from=10**9, discriminator_layers=4)
    with pytest.raises(mz.UserError, match="at least 48 pixels a side"):
        finish(replace(tiny_vae, loss=late), tmp_path / "run")
    assert not (tmp_path / "run").exists()
