"""The snapshots of a run's averages, and the averages rebuilt from them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import mezzotint as mz
from conftest import TINY, small_and_own
from mezzotint import config as configuration
from mezzotint.cli.average import average as command
from mezzotint.config.experiment import Experiment
from mezzotint.pipeline.loading import load_codec
from mezzotint.run import run
from mezzotint.storage import checkpoint
from mezzotint.trainer.posthoc import GAMMAS

from trainings import assert_same, finish

NAMES = list(GAMMAS)


# Snapshots after steps 3, 6, 9 and 12, between checkpoints after steps 4, 8 and 12.
AVERAGING = replace(TINY, train=replace(TINY.train, snapshots=24))


@pytest.fixture(scope="session")
def finished_averaging(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run of `AVERAGING`. Tests may only copy it."""
    folder = tmp_path_factory.mktemp("finished-averaging") / "run"
    with pytest.MonkeyPatch.context() as patch:
        small_and_own(cache, patch)
        finish(AVERAGING, folder)
    return folder


@pytest.fixture
def kept(finished_averaging: Path, few_glyphs: None, tmp_path: Path) -> Path:
    """A copy of the finished run of `AVERAGING`, which a test may change."""
    return Path(shutil.copytree(finished_averaging, tmp_path / "kept"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_snapshots_are_halves_of_the_averages_and_told_by_their_exponents(kept: Path) -> None:
    snapshots = checkpoint.listed(kept / "averages")
    assert [path.name for path in snapshots] == ["step-3", "step-6", "step-9", "step-12"]
    checkpoint.verify(snapshots[-1])
    assert json.loads((snapshots[1] / "state.json").read_text()) == {"step": 6, "gammas": GAMMAS}
    for name in NAMES:
        whole = load_file(kept / "checkpoints" / "step-12" / f"{name}.safetensors")
        half = load_file(snapshots[-1] / f"{name}.safetensors")
        assert half.keys() == whole.keys()
        assert all(torch.equal(half[key], whole[key].half()) for key in half)


@pytest.mark.parametrize("steps", [2, 7])
def test_a_crash_and_a_resume_leave_no_trace(kept, tmp_path, steps: int) -> None:
    started = run(AVERAGING, tmp_path / "crashed")
    for _ in range(1 + steps):
        next(started)
    started.close()
    finish(AVERAGING, tmp_path / "crashed", resume=True)
    assert_same(kept, tmp_path / "crashed")
    assert contents(kept / "averages") == contents(tmp_path / "crashed" / "averages")


def test_a_run_without_snapshots_is_the_one_with_them_and_nothing_else(trained, kept) -> None:
    """Both have the same losses and weights; `trained` has no snapshots."""
    assert not (trained / "averages").exists()
    files = [folder / "checkpoints" / "step-12" for folder in (trained, kept)]
    names = [{path.name for path in folder.iterdir()} for folder in files]
    assert names[1] - names[0] == {f"{name}.safetensors" for name in NAMES}
    for path in files[0].glob("*.safetensors"):
        assert path.read_bytes() == (files[1] / path.name).read_bytes()


def test_an_older_configuration_has_no_snapshots(trained: Path) -> None:
    config = json.loads((trained / "config.json").read_text())
    del config["train"]["snapshots"]
    (trained / "config.json").write_text(json.dumps(config))
    assert configuration.read(trained / "config.json").train.snapshots == 0


def test_the_kept_averages_are_given_back_and_sampled(kept: Path, capsys) -> None:
    command([str(kept), "--length", "0.05", "0.1"])
    folders = [kept / "averages" / name for name in ("length-0.050", "length-0.100")]
    assert capsys.readouterr().out.splitlines() == [
        f"wrote {path}; its weighting of steps has a relative error of 0.00%" for path in folders
    ]
    newest = kept / "checkpoints" / "step-12"
    for folder, name in zip(folders, NAMES, strict=True):
        checkpoint.verify(folder)
        assert {path.name for path in folder.iterdir()} == {
            "config.json", "ema.safetensors", "manifest.json", "state.json",
        }  # fmt: skip
        torch.testing.assert_close(
            load_file(folder / "ema.safetensors"),
            load_file(newest / f"{name}.safetensors"),
            rtol=1e-3,  # of float16, 2^-11
            atol=1e-6,
        )
    state = json.loads((folders[1] / "state.json").read_text())
    wanted = json.loads((newest / "state.json").read_text())
    del wanted["pending"]
    assert state == {**wanted, "length": 0.1}
    pictures = [mz.load(folder).sample(4, seed=0) for folder in folders]
    assert pictures[0].shape == (4, 3, 32, 32)
    assert not torch.equal(*pictures)


def test_they_are_written_where_they_are_wanted(kept: Path, tmp_path: Path, capsys) -> None:
    expected = r"0.25 is inexact: made of 4 snapshots, its weights have a relative error of 3"
    with pytest.warns(UserWarning, match=expected):
        command([str(kept), "--out", str(tmp_path / "out"), "--length", "0.25"])
    assert capsys.readouterr().out.startswith(
        f"wrote {tmp_path}/out/length-0.250; its weighting of steps has a relative error of 3"
    )
    assert mz.load(tmp_path / "out" / "length-0.250").net.digest != mz.load(kept).net.digest


def test_a_latent_models_codec_goes_along(tiny_ldm: Experiment, tmp_path: Path) -> None:
    finish(replace(tiny_ldm, train=replace(tiny_ldm.train, snapshots=24)), tmp_path / "ldm")
    [made] = mz.average(tmp_path / "ldm", 0.1)
    shutil.rmtree(tiny_ldm.codec.vae)
    assert mz.load(made.path).sample(2, seed=0).shape == (2, 3, 32, 32)


def test_an_autoencoder_whose_decoder_is_tuned_keeps_its_encoder(trained_vae, tmp_path) -> None:
    experiment = configuration.read(trained_vae / "config.json")
    tuned = replace(
        experiment,
        init=str(trained_vae),
        loss=replace(experiment.loss, tune="decoder"),
        train=replace(experiment.train, snapshots=24),
    )
    finish(tuned, tmp_path / "tuned")
    [made] = mz.average(tmp_path / "tuned", 0.1)
    before, after = load_codec(trained_vae).vae, load_codec(made.path).vae
    for key, weight in before.state_dict().items():
        if key.startswith(("encoder", "quant")):
            assert torch.equal(weight, after.state_dict()[key]), key
    assert not torch.equal(before.decoder[-1].weight, after.decoder[-1].weight)


def test_a_damaged_snapshot_is_left_out(kept: Path) -> None:
    (kept / "averages" / "step-6" / f"{NAMES[0]}.safetensors").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"step-6 is damaged: .*; this snapshot is left out"):
        [made] = mz.average(kept, 0.1)
    assert made.error < 1e-6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a run"),
        (["{}"], "`length` is empty: give numbers such as 0.1"),
        (
            ["{}", "--length", "0.1", "0.3"],
            "`length` is 0.3: choose a length above 0 and below 0.289",
        ),
        (["{}", "--length", "long"], "see mezzotint average"),
        (["{}/nowhere", "--length", "0.1"], "nowhere has no checkpoint: give a run"),
        (["{}", "--length", "0.1"], "has no snapshots, and an average needs two or more"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(trained: Path, arguments, message: str) -> None:
    with pytest.raises(mz.UserError, match=message) as said:
        command([word.format(trained) for word in arguments])
    assert "\n" not in str(said.value)
    assert not (trained / "averages").exists()


def test_one_snapshot_is_too_few(kept: Path) -> None:
    for name in ("step-3", "step-6", "step-9"):
        shutil.rmtree(kept / "averages" / name)
    with pytest.raises(mz.UserError, match="has 1 snapshot, and"):
        mz.average(kept, 0.1)


def test_the_command_writes_what_python_writes(kept: Path, tmp_path: Path, capsys) -> None:
    command([str(kept), "--out", str(tmp_path / "out"), "--length", "0.1", "0.05"])
    said = capsys.readouterr().out.splitlines()
    found = mz.average(str(kept), np.array([0.1, 0.05]))
    assert [made.path for made in found] == [
        kept / "averages" / "length-0.100",
        kept / "averages" / "length-0.050",
    ]
    assert [made.length for made in found] == [0.1, 0.05]
    assert said == [
        f"wrote {tmp_path}/out/{made.path.name}; "
        f"its weighting of steps has a relative error of {made.error:.2%}"
        for made in found
    ]
    assert contents(tmp_path / "out" / "length-0.100") == contents(found[0].path)


@pytest.mark.parametrize(
    ("length", "message"),
    [
        ((), "`length` is empty"),
        ("long", "`length` is 'long': give numbers such as 0.1"),
        ([None], r"`length` is \[None\]"),
        (0.3, "`length` is 0.3: choose a length above 0 and below 0.289"),
        ([0.1, 0], "`length` is 0: choose a length above 0"),
    ],
)
def test_a_length_out_of_range_is_refused(kept: Path, length, message: str) -> None:
    with pytest.raises(mz.UserError, match=message):
        mz.average(kept, length)
    assert not list((kept / "averages").glob("length-*"))
