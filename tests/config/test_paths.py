"""Paths in a configuration: a run is measured from any folder, and resumed after it was moved."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mezzotint as mz
from mezzotint import config as configuration
from mezzotint import evaluation
from mezzotint.config.experiment import Experiment
from mezzotint.config.paths import located, stored
from mezzotint.config.sections import CodecConfig

from trainings import assert_same, finish


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A folder ``q`` of 16 images in two classes."""
    draw = np.random.default_rng(0)
    for i in range(16):
        place = tmp_path / "q" / ("cat", "dog")[i % 2] / f"{i}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(place)
    return tmp_path / "q"


def of(tiny: Experiment, data: str) -> Experiment:
    return replace(tiny, data=replace(tiny.data, data=data))


def data_of(run: Path) -> str:
    content = json.loads((run / "config.json").read_text())
    return str(content["data"]["data"])


def test_a_run_knows_its_data_from_every_folder(tiny, photographs, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    finish(of(tiny, "q"), Path("rq"))
    assert data_of(tmp_path / "rq") == str(photographs)
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    run = Path("../rq")
    assert len(evaluation.training_set(run, mz.load(run)).images or ()) == 16
    mz.train(out=run, resume=True, images=104)
    assert data_of(tmp_path / "rq") == str(photographs)


def test_a_new_run_searches_nowhere_for_its_data(tiny, photographs, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for data in (tmp_path / "usb" / "q", Path("..") / tmp_path.name / "usb" / "q"):
        with pytest.raises(mz.UserError, match="there is no data set, file or folder"):
            next(mz.training(of(tiny, str(data)), out="rq"))
    with pytest.raises(mz.UserError, match="`data` is empty: give a name or a path"):
        mz.training(tiny, data="", out="rq")


def test_a_run_of_before_that_says_a_relative_path_is_understood(
    tiny, photographs, tmp_path, monkeypatch
) -> None:
    finish(of(tiny, str(photographs)), tmp_path / "rq")
    config = tmp_path / "rq" / "config.json"
    config.write_text(config.read_text().replace(str(photographs), "q"))
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    mz.train(out="../rq", resume=True, images=104)
    assert data_of(tmp_path / "rq") == str(photographs)


def test_a_run_and_its_data_that_moved_together_go_on(tiny, photographs, tmp_path) -> None:
    (tmp_path / "old").mkdir()
    photographs.rename(tmp_path / "old" / "q")
    finish(of(tiny, str(tmp_path / "old" / "q")), tmp_path / "old" / "rq")
    (tmp_path / "old").rename(tmp_path / "new")
    mz.train(out=tmp_path / "new" / "rq", resume=True, images=104)
    assert data_of(tmp_path / "new" / "rq") == str(tmp_path / "new" / "q")


def test_a_latent_model_and_its_autoencoder_move_together(
    trained_vae: Path, tiny_ldm: Experiment, tmp_path: Path
) -> None:
    """Paths of folders beside the run are stored relative to the run."""
    (tmp_path / "old").mkdir()
    trained_vae.rename(tmp_path / "old" / "vae")
    ldm = replace(tiny_ldm, codec=CodecConfig(vae=str(tmp_path / "old" / "vae")))
    finish(ldm, tmp_path / "old" / "ldm")
    content = json.loads((tmp_path / "old" / "ldm" / "config.json").read_text())
    assert content["codec"]["vae"] == "../vae"
    shutil.copytree(tmp_path / "old", tmp_path / "whole")
    mz.train(out=tmp_path / "whole" / "ldm", resume=True, images=104)
    (tmp_path / "old").rename(tmp_path / "new")
    mz.train(out=tmp_path / "new" / "ldm", resume=True, images=104)
    assert_same(tmp_path / "new" / "ldm", tmp_path / "whole" / "ldm")
    found = configuration.read(tmp_path / "new" / "ldm" / "config.json")
    assert isinstance(found, Experiment)
    assert found.codec.vae == str(tmp_path / "new" / "vae")


def test_an_autoencoder_elsewhere_is_stored_by_its_whole_path(tiny, tmp_path) -> None:
    vae = tmp_path / "elsewhere" / "vae"
    vae.mkdir(parents=True)
    sample = replace(tiny.sample, clipping="none")
    ldm = replace(tiny, codec=CodecConfig(vae=str(vae)), sample=sample)
    assert stored(ldm, tmp_path / "runs" / "ldm") == ldm


def test_a_link_on_the_way_to_an_autoencoder_changes_nothing(tiny, tmp_path, monkeypatch) -> None:
    (tmp_path / "disk" / "vae").mkdir(parents=True)
    (tmp_path / "runs").symlink_to("disk")
    monkeypatch.chdir(tmp_path)
    sample = replace(tiny.sample, clipping="none")
    ldm = replace(tiny, codec=CodecConfig(vae="runs/vae"), sample=sample, init="runs/vae")
    run = tmp_path / "runs" / "ldm"
    assert located(stored(ldm, run), run) == located(ldm, run)
    assert located(ldm, run).codec.vae == str(tmp_path / "disk" / "vae")


def test_names_stay_names(tiny: Experiment, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "glyphs").mkdir()
    monkeypatch.chdir(tmp_path)
    for config in (tiny, of(tiny, "hub:somebody/something"), of(tiny, "nowhere")):
        assert located(config, tmp_path / "run") == config == stored(config, tmp_path / "run")
    found = located(of(tiny, "./glyphs"), tmp_path / "run")
    assert found.data.data == str(tmp_path / "glyphs")
