"""Trainings with conditions, from the data to the samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import mezzotint as mz
from mezzotint.networks import DiTConfig
from mezzotint.run import run

from commands import call
from trainings import assert_same, finish


@pytest.fixture
def data(few_glyphs: None) -> mz.Prepared:
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    given = {
        "pose": draw.random((40, 2)),
        "tags": draw.integers(0, 2, (40, 3)),
        "small": draw.integers(0, 256, (40, 16, 16, 3), dtype=np.uint8),
    }
    return mz.prepare(images, np.arange(40) % 2, condition=given)


@pytest.mark.parametrize("net", ["unet", "dit"])
def test_all_kinds_at_once_train_resume_and_sample(tiny, data, tmp_path, net: str) -> None:
    how = (
        replace(tiny, net=DiTConfig(patch=4, width=16, depth=1, heads=2)) if net == "dit" else tiny
    )
    how = replace(how, data=replace(tiny.data, data=data.source))
    for progress in run(how, tmp_path / "cut", save_when_left=True):
        if progress.images == 48:
            break
    finish(how, tmp_path / "cut", resume=True)
    finish(how, tmp_path / "whole")
    assert_same(tmp_path / "cut", tmp_path / "whole")
    pipe = mz.load(tmp_path / "whole")
    assert [each.name for each in pipe.every] == ["label", "pose", "tags", "small"]
    assert pipe.conditions == data.conditions
    assert len(pipe.examples["pose"]) == 40
    condition = {"pose": [0.5, 0.5], "tags": {"0", "2"}, "small": data.condition["small"][0]}
    images = pipe.sample(2, labels=1, condition=condition, guidance=2.0)
    assert images.shape == (2, 3, 32, 32)
    assert not torch.equal(images, pipe.sample(2, labels=1, guidance=2.0))
    assert pipe.labels(4) == pipe.examples["label"][:4].tolist()


def test_the_mirror_takes_the_image_condition_along(tiny, data, tmp_path) -> None:
    how = replace(tiny, data=replace(tiny.data, data=data.source, flip=True))
    steps = run(how, tmp_path / "run")
    assert "are mirrored, but their conditions are not" in next(steps).note
    job = steps.gi_frame.f_locals["job"]
    u = torch.full((4, 16), 0.9)
    plain, turned = job.batch(0, 4, u), job.batch(0, 4, u * 0)
    assert torch.equal(plain.x0.flip(-1), turned.x0)
    assert torch.equal(plain.condition["small"].flip(-1), turned.condition["small"])
    assert torch.equal(plain.condition["pose"], turned.condition["pose"])


def test_without_conditions_wanted_there_are_none(tiny, data, tmp_path) -> None:
    pipe = mz.train(
        tiny, data=data, out=tmp_path / "run", conditional=False, guidance=1.0, images=8
    )
    assert pipe.every == ()


def test_a_latent_model_folds_the_image(tiny_ldm, data, tmp_path) -> None:
    how = replace(tiny_ldm, data=replace(tiny_ldm.data, data=data.source))
    how = replace(how, train=replace(how.train, images=16))
    finish(how, tmp_path / "run")
    pipe = mz.load(tmp_path / "run")
    side = pipe.shape[1]
    assert pipe.conditions[-1].fold == max(1, 16 // side)
    assert pipe.sample(2, condition={"small": data.condition["small"][:2]}).shape == (2, 3, 32, 32)


def test_numbers_are_scaled_as_the_model_scales_them_that_a_training_starts_from(
    tiny, data, tmp_path
) -> None:
    pose, images = data.condition["pose"], data.images
    first, second = (mz.prepare(images, condition={"pose": k * pose}) for k in (1, 3))
    theirs = mz.train(tiny, data=first, out=tmp_path / "first", images=8).conditions[0]
    init = str(tmp_path / "first")
    pipe = mz.train(tiny, data=second, init=init, out=tmp_path / "second", images=8)
    assert (pipe.conditions[0].mean, pipe.conditions[0].std) == (theirs.mean, theirs.std)
    fast = mz.distil(tmp_path / "second", out=tmp_path / "fast", images=8)
    assert fast.conditions == pipe.conditions


def test_a_condition_is_added_to_a_model_that_is_trained(tiny, trained, tmp_path) -> None:
    fields = {"condition": ("rotation", "hue"), "images": 8}
    note = next(mz.training(tiny, out=tmp_path / "a", init=str(trained), **fields)).note
    assert "condition_rotation.first.weight" in note
    pipe = mz.train(tiny, out=tmp_path / "b", init=str(trained), **fields)
    images = pipe.sample(2, labels=3, condition={"rotation": 5, "hue": [90, 180]})
    assert images.shape == (2, 3, 32, 32)


def test_the_command_line_asks_by_name(tiny, tmp_path, capsys, few_glyphs) -> None:
    out = str(tmp_path / "run")
    mz.train(tiny, out=out, condition=("rotation", "hue"), images=8)
    words = ["--steps", "2", "--out", str(tmp_path / "made"), "--guidance", "1"]
    asked = ["sample", out, *words, "--condition"]
    code, said, _ = call(capsys, *asked, "rotation=5", "hue=30,60,90")
    assert (code, "3 samples" in said) == (0, True)
    code, _, wrong = call(capsys, *asked, "rotation")
    assert code == 2
    assert "`condition`" not in wrong
    assert "--condition has 'rotation': write NAME=VALUE" in wrong
    assert "did you mean rotation?" in call(capsys, *asked, "rotatoin=1")[2]


def test_an_augmentation_that_would_leave_the_condition_behind_is_refused(tiny, data) -> None:
    with pytest.raises(mz.UserError, match="but not the images of the condition 'small'"):
        next(mz.training(tiny, data=data, out="nowhere", non_leaking=0.1))
