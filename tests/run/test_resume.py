"""Resume a run: what it needs, which settings may change, and how they change the result."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mezzotint as mz
from mezzotint import config as configuration
from mezzotint.config import recipes
from mezzotint.config.experiment import Experiment
from mezzotint.networks import network
from mezzotint.storage import checkpoint

from commands import CapSys, call
from trainings import assert_same, finish


def longer(tiny: Experiment, images: int, cooldown: float | None = None) -> Experiment:
    cooldown = tiny.train.cooldown if cooldown is None else cooldown
    return replace(tiny, train=replace(tiny.train, images=images, cooldown=cooldown))


def note(folder: Path, **options: object) -> str:
    return next(iter(mz.training(out=folder, resume=True, **options))).note


def test_a_run_goes_on_with_nothing_but_its_folder(trained: Path, tiny, tmp_path) -> None:
    other = Path(shutil.copytree(trained, tmp_path / "other"))
    finish(longer(tiny, 128), other, resume=True)
    mz.train(out=trained, resume=True, images=128)
    assert_same(trained, other)


def test_a_run_is_not_made_shorter_than_it_is(trained: Path, capsys: CapSys) -> None:
    before = (trained / "config.json").read_bytes()
    code, _, err = call(capsys, "train", "--resume", str(trained), "--images", "80")
    assert code == 2
    assert "has seen 96 images already, more than --images 80: give at least --images 96" in err
    assert (trained / "config.json").read_bytes() == before


def test_the_command_needs_nothing_else(trained: Path, tiny, tmp_path, capsys: CapSys) -> None:
    other = Path(shutil.copytree(trained, tmp_path / "other"))
    finish(longer(tiny, 128), other, resume=True)
    code, said, err = call(capsys, "train", "--resume", str(trained), "--images", "128")
    assert (code, said) == (0, f"the trained model is in {trained}\n")
    assert f"resumed from {trained}/checkpoints/step-12; changed: images 96 -> 128" in err
    assert_same(trained, other)


def test_a_recipes_name_resumes_a_run_with_the_runs_own_fields(
    trained: Path, tiny, capsys: CapSys, monkeypatch
) -> None:
    monkeypatch.setitem(recipes.RECIPES, "tiny", replace(tiny, log_every=8, save_every=8))
    flags = ["--out", str(trained), "--resume", "--images", "104"]
    assert call(capsys, "train", "tiny", *flags)[0] == 0
    now = configuration.read(trained / "config.json")
    assert (now.train.images, now.log_every, now.save_every) == (104, 24, 32)


def test_a_prolonged_training_is_exact_where_the_learning_rate_was_the_same(
    tiny: Experiment, tmp_path: Path
) -> None:
    finish(longer(tiny, 96, 0.0), tmp_path / "run")
    finish(longer(tiny, 128, 0.0), tmp_path / "whole")
    assert "bit-identical" not in note(tmp_path / "run", images=128)
    mz.train(out=tmp_path / "run", resume=True, images=128)
    assert_same(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"images": 128}, "images 96 -> 128 (the result will not be bit-identical: the steps"),
        ({"accumulate": 2}, "accumulate 1 -> 2 (the result will not be bit-identical: another div"),
        ({"precision": "bf16"}, "precision float32 -> bf16 (the result will not be bit-identical"),
        ({"log_every": 8, "sampler": "ddpm"}, "changed: log_every 24 -> 8, sampler ddim -> ddpm"),
        ({}, "step-12"),
    ],
)
def test_the_first_note_says_what_changed_and_whether_it_is_exact(
    trained: Path, changed: dict, said: str
) -> None:
    found = note(trained, **changed)
    assert said in found
    assert ("bit-identical" in found) == ("bit-identical" in said)


def test_a_length_from_which_the_network_is_compiled_is_said(
    tiny: Experiment, tmp_path: Path, monkeypatch
) -> None:
    finish(longer(tiny, 96, 0.0), tmp_path / "run")
    monkeypatch.setattr(network, "compiles", lambda: True)
    monkeypatch.setattr(network, "STEPS_FROM", 15)
    assert "bit-identical" not in note(tmp_path / "run", images=112)
    assert "only the longer training is compiled" in note(tmp_path / "run", images=120)


def test_what_out_of_memory_advises_is_taken(trained: Path, capsys: CapSys) -> None:
    flags = ["--images", "128", "--accumulate", "2"]
    assert call(capsys, "train", "--resume", str(trained), *flags)[0] == 0
    assert checkpoint.listed(trained / "checkpoints")[-1].name == "step-16"
    assert configuration.read(trained / "config.json").train.accumulate == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch": 4}, "was begun with `batch=8`, not 4"),
        ({"warmup": 0}, "was begun with `warmup=16`, not 0"),
        ({"recipe": "cifar10-ddpm"}, "was begun with the recipe tiny, not cifar10-ddpm"),
        (
            {"resume": False},
            "there is no recipe: give a recipe, or `resume=True` and a run as `out`",
        ),
        ({"out": None}, "there is no recipe: give a recipe, or `resume=True` and a run as `out`"),
        ({"out": "nowhere"}, "nowhere is not a run: to resume a run, give its folder as `out`"),
    ],
)
def test_what_cannot_be_resumed_is_one_clear_line(trained: Path, options: dict, said: str) -> None:
    with pytest.raises(mz.UserError) as wrong:
        mz.training(**({"out": trained, "resume": True} | options)).__next__()
    assert said in str(wrong.value)


def test_a_command_that_resumes_nothing_says_so(tmp_path: Path, capsys: CapSys) -> None:
    code, _, err = call(capsys, "train", "--resume", str(tmp_path / "run"))
    said = f"{tmp_path}/run is not a run: to resume a run, give its folder as --out"
    assert (code, err) == (2, f"mezzotint: {said}\n")


# Durations that belong together.


def begun(
    tiny: Experiment, tmp_path: Path, **fields: object
) -> tuple[configuration.TrainConfig, str]:
    steps = mz.training(tiny, out=tmp_path / "run", **fields)
    first, _ = next(steps).note, next(steps)
    return configuration.read(tmp_path / "run" / "config.json").train, first


def test_a_shorter_training_warms_up_and_averages_for_less_long(tiny, tmp_path) -> None:
    train, said = begun(tiny, tmp_path, images=48)
    assert (train.images, train.warmup, train.ema_halflife) == (48, 8, 50.0)
    assert (
        "; 48 images instead of 96, so "
        "the warm-up is 8 and the average's half-life 50 images; data: " in said
    )


def test_a_duration_that_is_given_stays(tiny: Experiment, tmp_path: Path) -> None:
    train, said = begun(tiny, tmp_path, images=48, warmup=16)
    assert (train.warmup, train.ema_halflife) == (16, 50.0)
    assert "warm-up" not in said


def test_a_longer_training_keeps_its_durations(tiny: Experiment, tmp_path: Path) -> None:
    train, said = begun(tiny, tmp_path, images=192)
    assert (train.warmup, train.ema_halflife) == (16, 100.0)
    assert "proportion" not in said


def test_a_flag_that_gives_the_recipes_own_value_is_given(
    tiny, tmp_path, capsys: CapSys, monkeypatch
) -> None:
    monkeypatch.setitem(recipes.RECIPES, "tiny", tiny)
    flags = ["--images", "48", "--warmup", "16", "--out", str(tmp_path / "run")]
    code, _, err = call(capsys, "train", "tiny", *flags)
    assert code == 0
    assert "48 images instead of 96, so the average's half-life is 50 images" in err
    assert configuration.read(tmp_path / "run" / "config.json").train.warmup == 16


def test_a_discriminator_begins_in_proportion_too() -> None:
    from mezzotint.config.durations import shortened

    recipe = recipes.RECIPES["imagenet100-vae"]
    assert isinstance(recipe, configuration.Autoencoder)
    half = configuration.changed(recipe, {"images": recipe.train.images // 2})
    made, _ = shortened(recipe, half, {"images"})
    assert made.loss.adversarial_from == recipe.loss.adversarial_from // 2
    assert made.train.warmup == recipe.train.warmup // 2


def test_a_resume_that_is_refused_leaves_the_run_as_it_was(tiny: Experiment, tmp_path) -> None:
    one = mz.prepare(np.zeros((1, 16, 16, 3), np.uint8), [0], classes=("only",))
    mz.train(tiny, data=one, out=tmp_path / "run")
    before = (tmp_path / "run" / "config.json").read_bytes()
    with pytest.raises(mz.UserError, match="but the data has 1: pass `evaluate_every=0`"):
        mz.train(out=tmp_path / "run", resume=True, images=104, evaluate_every=8)
    assert (tmp_path / "run" / "config.json").read_bytes() == before
