"""The models on the disk that can be loaded, and the errors for others."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import mezzotint as mz
from mezzotint.config.sampling import SampleConfig
from mezzotint.diffusion.prediction import denoiser
from mezzotint.interop.diffusers import saved_by_diffusers
from mezzotint.pipeline.loading import is_model
from mezzotint.run import run
from spoil import newest, seal


def test_a_run_and_its_checkpoint_load_with_the_averaged_weights(trained: Path) -> None:
    pipe = mz.load(trained)
    assert pipe.classes == tuple("0123456789")
    assert pipe.defaults == SampleConfig(steps=2, guidance=2.0)
    ema = load_file(trained / "checkpoints" / "step-12" / "ema.safetensors")
    raw = load_file(trained / "checkpoints" / "step-12" / "net.safetensors")
    state = pipe.net.state_dict()
    assert all(torch.equal(state[k], ema[k]) for k in ema)
    assert not all(torch.equal(state[k], raw[k]) for k in raw)
    again = mz.load(trained / "checkpoints" / "step-12")
    assert torch.equal(pipe.sample(4), again.sample(4))


def test_the_raw_network_is_the_pipelines(trained: Path) -> None:
    pipe = mz.load(trained)
    x, t = torch.randn(2, 3, 32, 32), torch.tensor([10.0, 900.0])
    labels = torch.tensor([3, 7])
    with torch.no_grad():
        output = pipe.net(x, t, labels)
    assert output.shape == x.shape
    level = mz.Level(10, float(pipe.schedule.alpha[11]), float(pipe.schedule.sigma[11]))
    with torch.no_grad():
        x0 = denoiser(pipe.net, "v", labels[:1])(x[:1], level)
    torch.testing.assert_close(x0, mz.to_x0("v", output[:1], x[:1], level))


def test_what_is_no_model_is_refused(tmp_path: Path, trained: Path) -> None:
    with pytest.raises(mz.UserError, match="there is no folder"):
        mz.load(tmp_path / "nowhere")
    with pytest.raises(mz.UserError, match="is not a model: give a run, a checkpoint"):
        mz.load(tmp_path)
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_text((trained / "config.json").read_text())
    with pytest.raises(mz.UserError, match="has no checkpoint yet: continue training with"):
        mz.load(bare)


@pytest.mark.parametrize(
    ("name", "content", "theirs"),
    [
        ("config.json", '{"_class_name": "UNet2DModel"}', True),
        ("config.json", '{"_class_name": "AutoencoderKL"}', True),
        ("config.json", '{"version": 4}', False),
        ("model_index.json", "{}", True),
        ("README.md", "", False),
    ],
)
def test_what_diffusers_saved_is_known(
    tmp_path: Path, name: str, content: str, theirs: bool
) -> None:
    (tmp_path / name).write_text(content)
    assert saved_by_diffusers(tmp_path) == theirs


@pytest.mark.parametrize("load", [saved_by_diffusers, mz.load, mz.load_codec])
def test_a_damaged_config_is_refused(tmp_path: Path, load: Callable[[Path], object]) -> None:
    (tmp_path / "config.json").write_text('{"_class_name": "UNet2DMo')
    with pytest.raises(
        mz.UserError, match=r"config\.json is missing or is not a JSON object: save"
    ):
        load(tmp_path)


def test_damaged_weights_are_refused_or_passed_over(trained: Path) -> None:
    newest = trained / "checkpoints" / "step-12"
    weights = newest / "ema.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(mz.UserError, match=r"is damaged: ema.safetensors does not match its SHA"):
        mz.load(newest)
    with pytest.warns(UserWarning, match="step-12 is damaged"):
        mz.load(trained)


@pytest.mark.parametrize("name", ["shape", "classes", "codec", "colour", "data"])
def test_a_checkpoint_that_does_not_say_all_is_passed_over(trained, capsys, name: str) -> None:
    state = newest(trained) / "state.json"
    told = json.loads(state.read_text())
    del told[name]
    state.write_text(json.dumps(told))
    seal(newest(trained))
    with pytest.raises(mz.UserError, match=rf"state\.json lacks {name}: give another checkpoint$"):
        mz.load(newest(trained))
    with pytest.warns(UserWarning, match=rf"state\.json lacks {name}: .*; using step-8 instead"):
        mz.load(trained)


@pytest.mark.parametrize("part", ["", "checkpoints", "checkpoints/step-12"])
def test_a_run_its_checkpoints_and_no_pictures_are_models(trained: Path, part: str) -> None:
    assert is_model(trained / part) == (part != "checkpoints")


def test_a_learned_variance_is_trained_loaded_and_sampled_with(tiny, tmp_path: Path) -> None:
    learned = replace(tiny, noise=replace(tiny.noise, learn_variance=True))
    for _ in run(learned, tmp_path / "run"):
        pass
    pipe = mz.load(tmp_path / "run")
    assert pipe.learned_variance
    how = {"n": 3, "sampler": "ddpm", "steps": 4}
    pictures = {v: pipe.sample(variance=v, **how) for v in ("learned", "small", "large")}
    assert all(made.shape == (3, 3, 32, 32) for made in pictures.values())
    assert not torch.equal(pictures["learned"], pictures["small"])
    assert not torch.equal(pictures["learned"], pictures["large"])
    assert pipe.sample(3, sampler="unipc").shape == (3, 3, 32, 32)


def test_loading_leaves_torchs_random_generator_and_default_type(trained: Path) -> None:
    wanted, before = mz.load(trained).sample(2), torch.get_rng_state()
    torch.set_default_dtype(torch.float64)
    try:
        pipe = mz.load(trained)
        assert {weight.dtype for weight in pipe.net.parameters()} == {torch.float32}
        assert torch.equal(pipe.sample(2), wanted)
        mz.compare(
            wanted,
            wanted.flip(0),
            network="glyphs",
            metrics="accuracy",
            labels=[1, 2],
            classes=list("0123456789"),
        )
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(torch.get_rng_state(), before)
