"""A training that starts from a model: fitting weights are copied, the others are listed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import mezzotint as mz
from mezzotint.config.experiment import Experiment
from mezzotint.config.paths import located, stored
from mezzotint.networks import UNet2D, UNet2DConfig, UNetConfig
from mezzotint.networks.conditions import every
from mezzotint.networks.custom import wrap
from mezzotint.networks.network import Network
from mezzotint.run import run
from mezzotint.run.initial import _check_shapeless, freeze, take_weights

from trainings import assert_same, finish


def begun(tiny: Experiment, init: Path, out: Path, **fields: object) -> tuple[str, Network]:
    """Return the first note of a training that starts from a model, and its initial network."""
    steps = mz.training(tiny, out=out, init=str(init), **fields)
    note = next(steps).note
    return note, steps.gi_frame.f_locals["job"].state.net  # type: ignore[attr-defined]


def test_the_same_network_begins_as_the_model_is(tiny, trained, tmp_path) -> None:
    note, net = begun(tiny, trained, tmp_path / "new")
    assert f"started from {trained}: " in note
    assert "anew" not in note
    weights = mz.load(trained).net.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in net.state_dict().items())


def test_its_network_replaces_the_recipe_s(tiny, trained, tmp_path) -> None:
    other = replace(tiny, net=UNetConfig(channels=(16,), attention=(), groups=4))
    steps = mz.training(other, out=tmp_path / "new", init=str(trained), dropout=0.0)
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    pipe = mz.train(other, out=tmp_path / "two", init=str(trained), dropout=0.0, images=8)
    assert pipe.net.config == replace(tiny.net, dropout=0.0)


def test_classes_are_taken_by_name_and_others_begin_anew(tiny, trained, tmp_path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    data = mz.prepare(images, np.arange(8) % 3, classes=("7", "new", "2"))
    note, net = begun(tiny, trained, tmp_path / "new", data=data)
    assert "1 class (new) have new random values" in note
    rows = mz.load(trained).net.state_dict()["label.weight"]
    taken = net.state_dict()["label.weight"]
    assert torch.equal(taken[[0, 2, 3]], rows[[7, 2, 10]])
    assert not (taken[1] == rows).all(1).any()
    with pytest.raises(mz.UserError, match=r"label\.weight, a weight with random values"):
        begun(tiny, trained, tmp_path / "frozen", data=data, freeze=("label.*",))


def test_without_classes_the_embedding_is_left_out(tiny, trained, tmp_path) -> None:
    note, net = begun(tiny, trained, tmp_path / "new", conditional=False, guidance=1.0)
    assert "anew" not in note
    assert "label.weight" not in net.state_dict()


def test_a_learned_variance_begins_anew(tiny, trained, tmp_path) -> None:
    note, _ = begun(tiny, trained, tmp_path / "new", learn_variance=True)
    assert "out.weight, out.bias have new random values" in note


def test_a_frozen_weight_stays_and_a_resume_is_exact(tiny, trained, tmp_path) -> None:
    held = replace(tiny, init=str(trained), freeze=("down.*", "label.*"))
    for progress in run(held, tmp_path / "cut", save_when_left=True):
        if progress.images == 48:
            break
    finish(held, tmp_path / "cut", resume=True)
    finish(held, tmp_path / "whole")
    assert_same(tmp_path / "cut", tmp_path / "whole")
    before, after = (
        load_file(folder / "checkpoints" / "step-12" / "ema.safetensors")
        for folder in (trained, tmp_path / "whole")
    )
    kept = {name for name in before if torch.equal(before[name], after[name])}
    assert kept == {name for name in before if name.startswith(("down.", "label."))}


def test_what_keeps_a_training_from_beginning_is_one_line(tiny, trained, tmp_path) -> None:
    def refused(**fields: object) -> str:
        with pytest.raises(mz.UserError) as error:
            begun(tiny, trained, tmp_path / "new", **fields)
        return str(error.value)

    assert refused(prediction="eps") == (
        f'{trained} predicts v, but this training predicts eps: pass `prediction="v"`'
    )
    assert refused(schedule="linear") == (
        f'{trained} has another schedule than this training: pass `schedule="cosine"` and '
        "`timesteps=1000`"
    )
    assert "fit less than half of the network" in refused(channels=(12, 24))
    groups = mz.load(trained).net.config.groups
    assert refused(groups=2) == (
        f"the weights of {trained} were trained with `groups={groups}`, but this network has "
        f"groups 2: pass `groups={groups}`"
    )
    assert "matches no weight: the names begin with time, label, stem" in refused(freeze=("up",))
    assert "leaves no weight to train" in refused(freeze=("*",))
    assert "a weight with random values" in refused(freeze=("out.*",), learn_variance=True)
    with pytest.raises(mz.UserError, match="there is no folder nowhere"):
        begun(tiny, Path("nowhere"), tmp_path / "new")
    with pytest.raises(mz.UserError, match="give `init`"):
        mz.training(tiny, freeze=("down.*",))


def test_a_setting_that_no_shape_shows_must_stay() -> None:
    config = UNet2DConfig(channels=(8, 16), head_width=None, groups=4, groups_bottom=4)
    theirs, ours = UNet2D(config), UNet2D(replace(config, around=False))
    with pytest.raises(mz.UserError, match="trained with `around=True`, but this network has"):
        _check_shapeless("old", theirs, ours)


def test_the_names_of_frozen_weights_are_those_of_checkpoints() -> None:
    net = wrap(nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)), 0).requires_grad_(True)
    with pytest.raises(mz.UserError, match=r"0\.bias, a weight with random values"):
        freeze(net, ("0.*",), ["0.bias"])
    freeze(net, ("0.*",), ())
    kept = [name for name, weight in net.module.named_parameters() if not weight.requires_grad]
    assert kept == ["0.weight", "0.bias"]


def test_a_model_of_latents_and_one_of_pixels_do_not_mix(tiny, tiny_ldm, trained, tmp_path) -> None:
    with pytest.raises(mz.UserError, match="works in pixels, but this training works in latents"):
        begun(tiny_ldm, trained, tmp_path / "new", patch=1)


def test_latents_begin_with_their_own_autoencoder(trained_ldm, tiny_ldm, tmp_path) -> None:
    note, _ = begun(tiny_ldm, trained_ldm, tmp_path / "new", vae=str(trained_ldm))
    assert "anew" not in note
    with pytest.raises(
        mz.UserError, match=f"pass the autoencoder of that model, `vae={trained_ldm}`"
    ):
        begun(tiny_ldm, trained_ldm, tmp_path / "two", vae="")


def test_a_shipped_model_is_a_name_in_config_json(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "cifar10").mkdir()  # a data set above the run is not the model
    config = replace(mz.RECIPES["cifar10-cpu"], init="cifar10")
    monkeypatch.chdir(tmp_path / "runs")
    assert stored(located(config, Path("a")), Path("a")).init == "cifar10"
    monkeypatch.chdir(tmp_path)
    assert located(config, Path("runs/a")).init == str(tmp_path / "cifar10")


def test_a_shipped_model_gives_all_but_the_classes(few_glyphs) -> None:
    config = replace(mz.RECIPES["cifar10-cpu"], init="cifar10")
    net = config.network(3, 2)
    said, anew = take_weights(net, config, every(["dog", "digit"]))
    assert said.endswith("weights fit; 1 class (digit) have new random values")
    assert anew == ["label.weight"], "some of its rows"
    theirs = mz.load("cifar10").net.state_dict()["label.weight"]
    assert torch.equal(net.state_dict()["label.weight"][[0, 2]], theirs[[5, 10]])
