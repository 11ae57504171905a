from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import mezzotint as mz
from mezzotint.experiment import Experiment, SampleConfig
from mezzotint.pipeline import noise
from mezzotint.predict import denoiser
from mezzotint.run import run


@pytest.fixture
def pipe(tiny_net) -> mz.Pipeline:
    return mz.Pipeline(
        tiny_net(classes=3), mz.cosine(1000), "v", (3, 16, 16), ("ant", "bee", "cow"),
        defaults=SampleConfig(steps=4, guidance=2.0),
    )  # fmt: skip


@pytest.fixture
def uncond(tiny_net) -> mz.Pipeline:
    return mz.Pipeline(tiny_net(), mz.linear(1000), "eps", (3, 16, 16), (), SampleConfig(steps=4))


def near(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal but for the rounding of floats that another batch size brings: one grey level."""
    return bool((a.int() - b.int()).abs().max() <= 1)


def test_pictures_are_uint8(pipe: mz.Pipeline) -> None:
    images = pipe.sample(5)
    assert images.shape == (5, 3, 16, 16)
    assert images.dtype == torch.uint8
    assert len(images.unique()) > 50


@pytest.mark.parametrize("settings", [{}, {"sampler": "ddpm", "steps": 6}, {"eta": 1.0}])
def test_picture_i_follows_from_the_seed_and_i_alone(pipe: mz.Pipeline, settings: dict) -> None:
    seven = pipe.sample(7, seed=3, **settings)
    assert near(pipe.sample(7, seed=3, batch=2, **settings), seven)
    assert near(pipe.sample(4, seed=3, **settings), seven[:4])
    torch.rand(5)  # the global generator has no part in it
    assert torch.equal(pipe.sample(7, seed=3, **settings), seven)
    assert not near(pipe.sample(7, seed=4, **settings), seven)
    assert not near(seven[:1], seven[3:4])  # nor are any two alike, though of one class


def test_neighbouring_seeds_and_pictures_have_unlike_noise() -> None:
    shape = torch.empty(2, 3, 16, 16)
    a, b = noise(0, [0, 1])(shape), noise(1, [0, 1])(shape)
    flat = torch.cat([a, b]).flatten(1)
    assert (torch.corrcoef(flat) - torch.eye(4)).abs().max() < 0.2
    assert float(flat.std()) == pytest.approx(1, abs=0.05)


def test_labels_are_every_class_in_turn_one_for_all_or_one_each(pipe: mz.Pipeline) -> None:
    turn = pipe.sample(6)
    assert near(turn, pipe.sample(6, labels=[0, 1, 2, 0, 1, 2]))
    for ones in (torch.tensor([1, 1]), [1, 1], np.int64(1), torch.tensor(1)):
        assert near(pipe.sample(2, labels=1), pipe.sample(2, labels=ones))
    assert not near(pipe.sample(2, labels=1), pipe.sample(2, labels=2))


def test_guidance_is_the_papers_on_the_raw_network(pipe: mz.Pipeline) -> None:
    x, level = torch.randn(2, 3, 16, 16), pipe.schedule.grid(4)[0]
    labels, t = torch.tensor([0, 2]), torch.full((2,), level.t)
    with torch.no_grad():
        cond, null = pipe.net(x, t, labels), pipe.net(x, t, torch.tensor([3, 3]))
        for scale in (0.0, 1.0, 2.5):
            guided = null + scale * (cond - null)
            wanted = mz.to_x0("v", guided, x, level).clamp(-1, 1)
            got = pipe.denoiser(labels, guidance=scale)(x, level)
            torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


def test_conditional_and_unconditional_go_in_one_doubled_batch(pipe: mz.Pipeline) -> None:
    sizes = []
    pipe.net.register_forward_hook(lambda _, args, out: sizes.append(len(args[0])))
    pipe.sample(3, guidance=2.0, steps=2)
    pipe.sample(3, guidance=1.0, steps=2)
    pipe.sample(3, guidance=0.0, steps=2)
    assert sizes == [6, 6, 3, 3, 3, 3]


def test_a_sampler_walks_the_pipelines_denoiser_to_the_pipelines_pictures(uncond) -> None:
    x = noise(5, range(2))(torch.empty(2, 3, 16, 16))
    with torch.no_grad():
        x = mz.SAMPLERS["ddim"](uncond.denoiser(), x, uncond.schedule.grid(4, spacing="trailing"))
    assert near(uncond.codec.decode(x), uncond.sample(2, seed=5))


def test_steps_are_told_as_they_are_made(pipe: mz.Pipeline) -> None:
    told: list[tuple[int, int]] = []
    pipe.sample(5, batch=3, steps=2, on_step=lambda *step: told.append(step))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_bf16_makes_nearly_the_same_pictures(pipe: mz.Pipeline) -> None:
    low = pipe.in_precision("bf16")
    assert low.net.dtype == torch.bfloat16
    assert pipe.net.dtype == torch.float32
    difference = (low.sample(4).float() - pipe.sample(4).float()).abs().mean()
    assert 0 < difference < 4


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"n": 0}, "n is 0"),
        ({"labels": 3}, "there is no class 3: labels are 0 to 2"),
        ({"labels": -1}, "there is no class -1"),
        ({"labels": [0, 1, 2]}, "3 labels for 2 pictures"),
        ({"labels": [0.5, 1.5]}, "labels are integers from 0, not torch.float32"),
        ({"labels": "ant"}, "labels are integers from 0, not 'ant'"),
        ({"labels": [[0, 1], [1, 2]]}, "must be a list"),
        ({"steps": 0}, "steps: input should be greater than 0"),
        ({"steps": 1001}, "steps is 1001: choose 1 to 1000"),
        ({"sampler": "euler"}, "sampler: input should be 'ddpm' or 'ddim'"),
        ({"eta": 2.0}, "eta: input should be less than or equal to 1"),
        ({"guidance": -1.0}, "guidance: input should be greater than or equal to 0"),
        ({"seed": -1}, "seed is -1"),
        ({"guidance": float("inf")}, "guidance: input should be a finite number"),
        ({"guidence": 1.0}, "unknown setting 'guidence'; did you mean guidance"),
    ],
)
def test_what_cannot_be_sampled_is_refused(pipe, wish: dict, message: str) -> None:
    with pytest.raises(mz.UserError, match=message):
        pipe.sample(**({"n": 2} | wish))


def test_an_unconditional_model_takes_neither_labels_nor_guidance(uncond: mz.Pipeline) -> None:
    assert uncond.sample(1).shape == (1, 3, 16, 16)
    with pytest.raises(mz.UserError, match="guidance needs a model with classes"):
        uncond.sample(1, guidance=2.0)
    with pytest.raises(mz.UserError, match="unconditional: leave labels out"):
        uncond.sample(1, labels=0)


@pytest.fixture
def trained(tiny: Experiment, tmp_path: Path) -> Path:
    for _ in run(tiny, tmp_path / "run"):
        pass
    return tmp_path / "run"


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
    with pytest.raises(mz.UserError, match="is no run, checkpoint or diffusers folder"):
        mz.load(tmp_path)
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_text((trained / "config.json").read_text())
    with pytest.raises(mz.UserError, match="has no checkpoint yet: train it on with --resume"):
        mz.load(bare)


def test_damaged_weights_are_refused_or_passed_over(trained: Path) -> None:
    newest = trained / "checkpoints" / "step-12"
    weights = newest / "ema.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(mz.UserError, match=r"is damaged: ema.safetensors does not match its SHA"):
        mz.load(newest)
    with pytest.warns(UserWarning, match="step-12 is damaged"):
        mz.load(trained)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c | {"version": 99}, "is of version 99, this mezzotint reads version 2"),
        (lambda c: c | {"colour": "red"}, "colour: unexpected keyword"),
        (lambda c: c | {"precision": 16}, "precision: input should be"),
        (lambda c: c | {"net": c["net"] | {"blocks": "2"}}, r"net.blocks: .*integer, not '2'"),
        (lambda c: {}, "is not a configuration that mezzotint wrote"),
    ],
)
def test_a_configuration_is_read_strictly(trained: Path, change, message: str) -> None:
    from mezzotint import experiment

    path = trained / "config.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(mz.UserError, match=message):
        experiment.read(path)
