"""The run of a diffusion model on an autoencoder's latents, and one on augmented pixels."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import mezzotint as mz
from mezzotint import config as configuration
from mezzotint.config import recipes
from mezzotint.config.experiment import Experiment
from mezzotint.config.sections import CodecConfig
from mezzotint.data import AUGMENTATION_SIZE, prepare, rows
from mezzotint.diffusion.noise import noise
from mezzotint.interop.folder import WEIGHTS
from mezzotint.interop.vae import write_vae
from mezzotint.networks import VAE, DiTConfig, VAEConfig
from mezzotint.pipeline.codec import Latents
from mezzotint.pipeline.loading import load_codec
from mezzotint.run import run
from mezzotint.run.diffusion import DiffusionJob
from mezzotint.trainer.loop import KNOBS

from commands import call
from trainings import assert_same, finish

CPU = torch.device("cpu")
NET = VAEConfig(channels=(8, 16), blocks=1, groups=4)


def crashed(experiment: Experiment, folder: Path, steps: int) -> None:
    running = run(experiment, folder)
    for _ in range(1 + steps):
        next(running)
    running.close()


def begun(experiment: Experiment) -> DiffusionJob:
    return DiffusionJob(experiment, CPU, None)


def epoch(job: DiffusionJob, mirrored: bool = False, number: int = 0) -> Tensor:
    """Return the x0 of each training image in one epoch, mirrored or not."""
    index = rows(job.experiment.train.seed, 100 * number, 100, 100)
    u = torch.full((100, KNOBS), 0.0 if mirrored else 0.9)
    return job.batch(100 * number, 100, u).x0[np.argsort(index)]


def glyphs() -> Tensor:
    """The training set, uint8."""
    return torch.from_numpy(np.array(prepare("glyphs").images)).permute(0, 3, 1, 2).contiguous()


def foreign(
    folder: Path,
    change: Callable[[VAE], None] = lambda vae: None,
    scale: float = 1.0,
    shift: float = 0.0,
) -> Path:
    """Write an autoencoder with random weights to a folder of diffusers."""
    torch.manual_seed(0)
    vae = VAE(NET)
    with torch.no_grad():
        change(vae)
    write_vae(folder, asdict(NET), 3, vae.state_dict(), [scale], [shift])
    return folder


def latent(experiment: Experiment, vae: Path, **codec: Any) -> Experiment:
    return replace(experiment, codec=CodecConfig(vae=str(vae), **codec))


def test_a_run_folder_holds_what_it_should(trained_ldm: Path) -> None:
    newest = trained_ldm / "checkpoints" / "step-12"
    assert {path.name for path in newest.iterdir()} == {
        "codec.safetensors", "config.json", "ema.safetensors", "manifest.json",
        "net.safetensors", "optimizer.safetensors", "state.json",
    }  # fmt: skip
    state = json.loads((newest / "state.json").read_text())
    assert state["shape"] == [4, 8, 8]
    assert state["codec"]["kind"] == "kl"
    assert [path.name for path in (trained_ldm / "samples").iterdir()] == ["000000096.png"]


def test_it_makes_pictures_of_the_pictures_size_on_its_own(trained_ldm: Path) -> None:
    """The autoencoder of the fixture is in another folder."""
    pipe = mz.load(trained_ldm)
    assert pipe.size == (32, 32)
    made = pipe.sample(12, seed=3)
    assert (made.dtype, made.shape) == (torch.uint8, (12, 3, 32, 32))
    assert torch.equal(made, mz.load(trained_ldm / "checkpoints" / "step-12").sample(12, seed=3))
    low = mz.load(trained_ldm, precision="bf16").sample(12, seed=3)
    assert (low.int() - made.int()).abs().float().mean() < 4


def test_a_crash_and_a_resume_leave_no_trace_without_the_autoencoder(
    trained_ldm, tiny_ldm, trained_vae, tmp_path, monkeypatch
) -> None:
    """The latents are missing too. They are encoded again by the copy in the checkpoint."""
    crashed(tiny_ldm, tmp_path / "run", 5)
    shutil.rmtree(trained_vae)
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "another"))
    torch.manual_seed(99)
    finish(tiny_ldm, tmp_path / "run", resume=True)
    assert_same(trained_ldm, tmp_path / "run")
    pictures = [mz.load(folder).sample(4) for folder in (trained_ldm, tmp_path / "run")]
    assert torch.equal(*pictures)
    codec = load_codec(tmp_path / "run")
    assert codec.digest == load_codec(trained_ldm).digest
    again = latent(replace(tiny_ldm, recipe="again"), tmp_path / "run")
    finish(replace(again, train=replace(again.train, images=8)), tmp_path / "again")


def test_a_resume_is_exact_of_samples_of_the_posterior(tiny_ldm, trained_vae, tmp_path) -> None:
    sampled = latent(tiny_ldm, trained_vae, posterior="sample")
    sampled = replace(sampled, train=replace(sampled.train, accumulate=2, images=64))
    finish(sampled, tmp_path / "whole")
    crashed(sampled, tmp_path / "run", 5)
    finish(sampled, tmp_path / "run", resume=True)
    assert_same(tmp_path / "whole", tmp_path / "run")


@pytest.mark.parametrize("posterior", ["mean", "sample"])
def test_the_network_sees_zero_mean_and_unit_variance(tiny_ldm, trained_vae, posterior) -> None:
    job = begun(latent(tiny_ldm, trained_vae, posterior=posterior))
    z = torch.cat([epoch(job, mirrored, k) for mirrored in (False, True) for k in range(5)])
    assert z.shape == (1000, 4, 8, 8)
    torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(4), rtol=0, atol=0.01)
    torch.testing.assert_close(z.std((0, 2, 3)), torch.ones(4), rtol=0.01, atol=0)


def test_the_latents_are_the_codecs_and_mirrored_those_of_the_mirrored_picture(tiny_ldm) -> None:
    job = begun(tiny_ldm)
    images = glyphs()
    plain, mirrored = epoch(job), epoch(job, mirrored=True)
    near = {"rtol": 2e-3, "atol": 2e-3}  # they are kept in float16
    torch.testing.assert_close(plain, job.codec.encode(images), **near)
    torch.testing.assert_close(mirrored, job.codec.encode(images.flip(-1)), **near)
    assert (mirrored - plain.flip(-1)).abs().mean() > 0.01
    never = begun(replace(tiny_ldm, data=replace(tiny_ldm.data, flip=False)))
    assert torch.equal(epoch(never, mirrored=True), epoch(never))


def test_a_sample_of_the_posterior_is_drawn_anew_and_of_its_variance(tiny_ldm, trained_vae):
    job = begun(latent(tiny_ldm, trained_vae, posterior="sample"))
    drawn = torch.stack([epoch(job, number=k) for k in range(200)])
    mean, std = job.codec.moments(glyphs())
    wanted = std / job.codec.std.view(-1, 1, 1)
    assert wanted.min() > 1e-3
    # Of 200 each variance is off by a tenth, 100 images of 256 numbers are by 1 in 10,000.
    ratio = (drawn.std(0) / wanted).square()
    assert ratio.mean() == pytest.approx(1, abs=0.01)
    assert ratio.min() > 0.4
    error = (drawn.mean(0) - job.codec.sample(mean, std)) / wanted
    assert error.std() == pytest.approx(200**-0.5, rel=0.05)


def test_a_sample_of_the_posterior_is_of_no_noise_that_is_sampled_from(tiny_ldm, trained_vae):
    """Although both noises have the same seed and number."""
    job = begun(latent(tiny_ldm, trained_vae, posterior="sample"))
    seed = job.experiment.train.seed
    images = glyphs()[rows(seed, 0, 100, 100)]
    mean, std = job.codec.moments(images)
    z = job.batch(0, 100, torch.full((100, KNOBS), 0.9)).x0
    eps = (z - job.codec.sample(mean, std)) * job.codec.std.view(-1, 1, 1) / std
    sampled = noise(seed, range(100))(eps)
    correlation = (eps * sampled).mean() / (eps.std() * sampled.std())
    assert abs(correlation) < 5 * eps.numel() ** -0.5


def test_labels_are_dropped_and_guided_by(tiny_ldm, trained_ldm, tmp_path) -> None:
    dropped = replace(tiny_ldm, objective=replace(tiny_ldm.objective, label_dropout=1.0))
    net = begun(dropped).state.net
    before = net.label.weight.clone()
    finish(dropped, tmp_path / "run")
    after = load_file(tmp_path / "run" / "checkpoints" / "step-12" / "net.safetensors")
    same = (after["label.weight"] == before).all(1)
    assert same.tolist() == [True] * 10 + [False]
    pipe = mz.load(trained_ldm)
    x, level = torch.randn(2, 4, 8, 8), pipe.schedule.grid(4)[1]

    def x0(label: int, guidance: float) -> Tensor:
        with torch.no_grad():
            return pipe.denoiser([label, label], guidance, clipping="none")(x, level)

    plain, nothing = x0(1, 1.0), x0(1, 0.0)
    assert torch.equal(nothing, x0(2, 0.0))
    assert not torch.equal(plain, x0(2, 1.0))
    torch.testing.assert_close(x0(1, 3.0), nothing + 3 * (plain - nothing))


Line = tuple[str, str, int]  # file, function, number


def executed(work: Callable[[], object], *parts: str) -> set[Line]:
    """Return the lines of some files in `mezzotint` that run during some work."""
    root = Path(mz.__file__).parent
    files = {str(path): path.relative_to(root).as_posix() for path in root.rglob("*.py")}
    files = {path: name for path, name in files.items() if name.startswith(parts)}
    ran: set[Line] = set()

    def line(frame: Any, event: str, _: object) -> Any:
        code = frame.f_code
        ran.add((files[code.co_filename], code.co_qualname, frame.f_lineno))
        return line

    def enter(frame: Any, event: str, _: object) -> Any:
        return line if frame.f_code.co_filename in files else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        work()
    finally:
        sys.settrace(before)
    return ran


def test_pixels_and_latents_share_every_line_of_trainer_and_sampler(tiny_ldm, tmp_path) -> None:
    """The codec, the data, and the module that requests both are left out."""
    apart = ("pipeline/codec", "interop/", "pipeline/loading.py", "networks/vae.py")
    apart += ("networks/blocks.py", "networks/network.py", "data/", "storage/cache.py")
    apart += ("storage/leftovers.py", "errors.py", "devices.py")  # of the cache, of names
    apart += ("storage/arrays.py", "drawing/bars.py", "run/diffusion.py", "config/paths.py")
    apart += ("run/latents.py", "processes.py")
    root = Path(mz.__file__).parent
    names = [path.relative_to(root).as_posix() for path in root.rglob("*.py")]
    shared = [name for name in names if not name.startswith(apart)]
    load = mz.load  # the first use of a public name imports every room

    def lines(experiment: Experiment, folder: Path) -> set[Line]:
        short = replace(experiment, train=replace(experiment.train, images=24), save_every=8)

        def work() -> None:
            finish(short, folder)
            load(folder).sample(4, steps=3, guidance=3.0)

        return executed(work, *shared)

    latents = lines(tiny_ldm, tmp_path / "latents")
    pixels = lines(replace(tiny_ldm, codec=CodecConfig()), tmp_path / "pixels")
    assert {file for file, _, _ in latents & pixels} >= {
        "trainer/loop.py", "trainer/objective.py", "trainer/state.py",
        "diffusion/samplers/ddim.py", "diffusion/samplers/step.py", "diffusion/prediction.py",
        "diffusion/guidance.py", "pipeline/pipeline.py", "networks/unet.py",
    }  # fmt: skip
    apart_too = {
        ("run/job.py", "pixels"),
        ("run/running.py", "_understood"),  # says the size of latents
        ("config/experiment.py", "Autoencoder.__post_init__"),  # of the codec, as it is read
    }
    assert {(file, name) for file, name, _ in latents ^ pixels} == apart_too


def test_a_transformer_is_trained_and_sampled_by_the_same_run(tiny_ldm, tmp_path: Path) -> None:
    dit = replace(tiny_ldm, net=DiTConfig(patch=2, width=32, depth=1, heads=2))
    dit = replace(dit, train=replace(dit.train, images=32))
    finish(dit, tmp_path / "run")
    made = mz.load(tmp_path / "run").sample(3)
    assert (made.dtype, made.shape) == (torch.uint8, (3, 3, 32, 32))


# What is refused.


def refused(experiment: Experiment, folder: Path) -> str:
    """Return the one-line error of an experiment that writes nothing."""
    with pytest.raises(mz.UserError) as error:
        finish(experiment, folder)
    assert not folder.exists()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_latents_that_are_not_of_unit_variance_are_refused(tiny_ldm, tmp_path) -> None:
    def centred(vae: VAE) -> None:
        vae.quant.bias[:4] -= means

    means = torch.zeros(4)
    scaled = foreign(tmp_path / "scaled", scale=100.0)
    said = refused(latent(tiny_ldm, scaled, scaling="own"), tmp_path / "run")
    assert "do not have zero mean and unit variance" in said
    assert said.endswith('pass `scaling="measured"`')
    job = begun(latent(tiny_ldm, scaled))
    assert epoch(job).std() == pytest.approx(1, abs=0.05)
    means, std = job.codec.mean, float(job.codec.std.mean())
    right = foreign(tmp_path / "right", centred, scale=1 / std)
    own = begun(latent(tiny_ldm, right, scaling="own"))
    assert own.codec.std.tolist() == pytest.approx([std] * 4)
    assert not own.codec.mean.any()


@pytest.mark.parametrize("posterior", ["mean", "sample"])
def test_latents_that_are_all_alike_are_refused(tiny_ldm, tmp_path, posterior) -> None:
    """Their measured variance may be only rounding, which would be scaled to 1."""

    def dead(vae: VAE) -> None:
        vae.quant.weight[1] = 0
        vae.quant.bias[1] = 0.7
        vae.quant.bias[4:] = -25

    vae = foreign(tmp_path / "theirs", dead)
    said = refused(latent(tiny_ldm, vae, posterior=posterior), tmp_path / "run")
    assert "hardly differ from image to image in channel 1 (mean 0.7, standard deviation " in said


@pytest.mark.parametrize("size", [30, 36, (20, 33)])
def test_sizes_that_cannot_be_halved_are_padded_and_cut(tiny_ldm, size) -> None:
    odd = replace(tiny_ldm, data=replace(tiny_ldm.data, size=size))
    sides = size if isinstance(size, tuple) else (size, size)
    dit = DiTConfig(patch=2, width=32, depth=1, heads=2)
    for experiment in (odd, replace(odd, net=dit)):
        job = begun(experiment)
        assert job.pipe.shape[1:] == tuple(-(-side // 4) for side in sides)
        assert job.pipe.size == sides
        assert job.pipe.sample(1, steps=1).shape == (1, 3, *sides)


def test_what_is_no_autoencoder_is_refused(tiny_ldm, finished, trained_vae, tmp_path) -> None:
    out = tmp_path / "run"
    assert "there is no folder" in refused(latent(tiny_ldm, tmp_path / "no"), out)
    said = refused(latent(tiny_ldm, finished), out)
    assert said.endswith(
        "is a diffusion model of pixels, without an autoencoder: give an autoencoder"
    )
    (tmp_path / "empty").mkdir()
    assert "is not a model" in refused(latent(tiny_ldm, tmp_path / "empty"), out)
    shutil.rmtree(trained_vae / "checkpoints")
    assert "has no checkpoint yet" in refused(tiny_ldm, out)


def test_a_foreign_autoencoder_of_other_weights_is_refused_with_all_of_them(tiny_ldm, tmp_path):
    vae = foreign(tmp_path / "theirs")
    path = vae / WEIGHTS
    weights = load_file(path)
    missing = ["encoder.conv_in.weight", "post_quant_conv.bias"]
    for key in missing:
        del weights[key]
    extra = {"encoder.spare.weight": torch.zeros(1), "decoder.spare.bias": torch.zeros(1)}
    save_file(weights | extra, path)
    said = refused(latent(tiny_ldm, vae), tmp_path / "run")
    ours = ["decoder.spare.bias", "encoder.0.weight", "encoder.spare.weight", "post_quant.bias"]
    assert said == f"{vae}: weights are missing or superfluous: {', '.join(ours)}"


def test_a_foreign_autoencoder_of_grey_pictures_is_refused(tiny_ldm, tmp_path) -> None:
    torch.manual_seed(0)
    write_vae(tmp_path / "theirs", asdict(NET), 1, VAE(NET, 1).state_dict(), [1.0], [0.0])
    said = refused(latent(tiny_ldm, tmp_path / "theirs"), tmp_path / "run")
    assert "3 channels but the autoencoder needs 1: give an autoencoder for images" in said


def test_pictures_without_classes_are_refused_but_for_an_unconditional_model(tiny_ldm, tmp_path):
    images = np.array(prepare("glyphs").images)
    np.save(tmp_path / "images.npy", images)
    bare = replace(tiny_ldm, data=replace(tiny_ldm.data, data=str(tmp_path / "images.npy")))
    assert refused(bare, tmp_path / "run").endswith("has no classes: pass `conditional=False`")
    plain = replace(bare, data=replace(bare.data, conditional=False))
    finish(replace(plain, train=replace(plain.train, images=16)), tmp_path / "run")
    assert mz.load(tmp_path / "run").sample(2).shape == (2, 3, 32, 32)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("", "latents have no bounds: choose --clipping none"),
        ("--clipping none --non-leaking 0.12", "--non-leaking augments pixels, but"),
        ("--clipping none --vae nowhere", "there is no folder nowhere"),
    ],
)
def test_the_command_says_what_is_wrong(trained_vae, tmp_path, capsys, more, message) -> None:
    flags = ["--vae", str(trained_vae), "--out", str(tmp_path / "run"), *more.split()]
    code, _, said = call(capsys, "train", "glyphs-ddpm", *flags)
    assert code == 2
    assert message in said
    assert len(said.splitlines()) == 1


def test_the_command_trains_and_samples(tiny_ldm, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setitem(recipes.RECIPES, "tiny", replace(tiny_ldm, codec=CodecConfig()))
    flags = ["--vae", tiny_ldm.codec.vae, "--posterior", "sample", "--images", "16"]
    out = str(tmp_path / "run")
    assert call(capsys, "train", "tiny", "--out", out, *flags)[0] == 0
    made = configuration.read(tmp_path / "run" / "config.json")
    assert made.codec == CodecConfig(tiny_ldm.codec.vae, "sample")
    assert call(capsys, "sample", out, "-n", "3")[0] == 0
    assert len(list((tmp_path / "run" / "images").iterdir())) == 3
    assert (tmp_path / "run" / "images.png").exists()  # their grid
    code, _, said = call(capsys, "sample", tiny_ldm.codec.vae)
    assert code == 2
    assert "is an autoencoder" in said


def test_sampling_clips_no_latents(trained_ldm: Path) -> None:
    with pytest.raises(mz.UserError, match="latents have no bounds to clip to"):
        mz.load(trained_ldm).sample(1, clipping="static")


def test_a_weaker_model_guides_in_the_same_latents_only(trained_ldm, trained) -> None:
    pipe = mz.load(trained_ldm)
    weaker = mz.load(trained_ldm / "checkpoints" / "step-8")
    assert pipe.guided_by(weaker).sample(2, guidance=2.0).shape == (2, 3, 32, 32)
    with pytest.raises(mz.UserError, match="the weaker model differs from this model in shape"):
        pipe.guided_by(mz.load(trained))


def test_a_damaged_codec_is_refused_or_passed_over(trained_ldm: Path) -> None:
    newest = trained_ldm / "checkpoints" / "step-12"
    codec = newest / "codec.safetensors"
    codec.write_bytes(codec.read_bytes()[:-9])
    with pytest.raises(mz.UserError, match=r"is damaged: codec.safetensors does not match its SHA"):
        mz.load(newest)
    with pytest.raises(mz.UserError, match=r"codec.safetensors does not match its SHA"):
        load_codec(newest)
    with pytest.warns(UserWarning, match="step-12 is damaged"):
        assert isinstance(mz.load(trained_ldm).codec, Latents)


# Pixels, augmented and said.


@pytest.fixture
def augmented(tiny: Experiment) -> Experiment:
    return replace(tiny, data=replace(tiny.data, non_leaking=0.12))


def test_the_network_is_told_of_the_augmentation(augmented: Experiment) -> None:
    job = begun(augmented)
    seen = []
    job.state.net.register_forward_pre_hook(
        lambda net, args, kwargs: seen.append(kwargs["augmentation"]), with_kwargs=True
    )
    task, u = job.state.task, torch.rand(64, KNOBS, generator=torch.Generator().manual_seed(0))
    examples = job.batch(0, 64, u)
    task(job.state.net, examples, *task.draw(64, 0, torch.Generator().manual_seed(0)))
    (said,) = seen
    assert torch.equal(said, examples.augmentation)
    assert said.shape == (64, AUGMENTATION_SIZE)
    assert 0.3 < (said[:, 0] == 1).float().mean() < 0.7  # its own mirror
    assert 0.2 < (said[:, 1:] != 0).any(1).float().mean() < 0.7  # 1 - 0.88^5 is 0.47


def test_an_augmented_run_is_exact_in_its_resume_and_sampled_without(augmented, tmp_path) -> None:
    finish(augmented, tmp_path / "whole")
    crashed(augmented, tmp_path / "run", 5)
    finish(augmented, tmp_path / "run", resume=True)
    assert_same(tmp_path / "whole", tmp_path / "run")
    before = begun(augmented).state.net.state_dict()
    after = load_file(tmp_path / "run" / "checkpoints" / "step-12" / "net.safetensors")
    assert (before["augmentation.weight"] != after["augmentation.weight"]).any(0).all()
    pipe = mz.load(tmp_path / "run")
    assert pipe.sample(3).shape == (3, 3, 32, 32)
    x, t = torch.randn(2, 3, 32, 32), torch.tensor([5.0, 500.0])
    with torch.no_grad():
        assert torch.equal(
            pipe.net(x, t), pipe.net(x, t, augmentation=torch.zeros(2, AUGMENTATION_SIZE))
        )
