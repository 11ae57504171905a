"""A folder of samples: its content, and files of others that stay there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mezzotint as mz
from mezzotint.data.values import Values
from mezzotint.pipeline.codec import Pixels


def test_a_folder_holds_the_samples_and_their_grid_is_beside_it(trained: Path, tmp_path) -> None:
    calls: list[tuple[int, int]] = []
    made = mz.write_samples(
        *(trained, tmp_path / "out", 5, "3"),
        seed=2,
        batch=2,
        on_step=lambda done, total: calls.append((done, total)),
        steps=3,
        guidance=1.0,
    )
    assert made.equal(mz.load(trained).sample(5, "3", seed=2, batch=2, steps=3, guidance=1.0))
    files = sorted((tmp_path / "out").iterdir())
    assert [file.name for file in files] == [f"{i:06d}.png" for i in range(5)]
    for file, image in zip(files, made.permute(0, 2, 3, 1).numpy(), strict=True):
        assert np.array_equal(np.asarray(Image.open(file)), image)
    with Image.open(tmp_path / "out.png") as grid:
        assert min(grid.size) > 32
    assert calls[-1] == (9, 9)


def test_a_larger_request_adds_to_a_smaller(trained: Path, tmp_path: Path) -> None:
    pipe, out = mz.load(trained), tmp_path / "out"
    mz.write_samples(pipe, str(out), 3)
    times = {p.name: p.stat().st_mtime_ns for p in out.iterdir()}
    both = mz.write_samples(pipe, out, 5)
    assert both.equal(pipe.sample(5))
    assert len(list(out.iterdir())) == 5
    assert mz.write_samples(pipe, out, 2).equal(both[:2])
    assert len(list(out.iterdir())) == 5
    assert {n: (out / n).stat().st_mtime_ns for n in times} == times


def test_a_sample_that_was_deleted_is_made_again(trained: Path, tmp_path: Path) -> None:
    pipe, out = mz.load(trained), tmp_path / "out"
    made = mz.write_samples(pipe, out, 4)
    was = (out / "000001.png").read_bytes()
    (out / "000001.png").unlink()
    assert mz.write_samples(pipe, out, 4).equal(made)
    assert (out / "000001.png").read_bytes() == was


def test_a_png_file_does_not_stand_in_for_the_array_that_it_shows(tmp_path: Path) -> None:
    codec = Pixels(Values("float32", -1, 1))
    pipe = mz.Pipeline(lambda x, t, c: 0 * x, mz.cosine(10), "v", (2, 8, 8), codec=codec)
    made = mz.write_samples(pipe, tmp_path / "out", 2)
    assert mz.write_samples(pipe, tmp_path / "out", 2).equal(made)
    (tmp_path / "out" / "000000.npy").unlink()
    with pytest.raises(mz.UserError, match=r"000000\.npy is missing or damaged: delete .*0\.png"):
        mz.write_samples(pipe, tmp_path / "out", 2)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"seed": 1}, "holds 2 samples made with `seed=0`, not 1: choose another `out`"),
        ({"labels": 3}, "made with `labels=every class in turn`, not 3: choose another `out`"),
        ({"steps": 3}, "made with `steps=2`, not 3: choose another `out`"),
        ({"guidance": 1.0}, "made with `guidance=2.0`, not 1.0: choose another `out`"),
    ],
)
def test_samples_made_otherwise_are_not_mixed(trained, tmp_path, other, message: str) -> None:
    mz.write_samples(trained, tmp_path / "out", 2)
    with pytest.raises(mz.UserError, match=message):
        mz.write_samples(trained, tmp_path / "out", 4, **other)
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_samples_of_other_weights_are_not_mixed(trained: Path, tmp_path: Path) -> None:
    mz.write_samples(trained, tmp_path / "out", 2)
    with pytest.raises(mz.UserError, match="holds 2 samples of another model, or made with other"):
        mz.write_samples(trained / "checkpoints" / "step-8", tmp_path / "out", 2)


def test_samples_of_another_prediction_are_not_mixed(trained: Path, tmp_path: Path) -> None:
    pipe = mz.load(trained)
    mz.write_samples(pipe, tmp_path / "out", 2)
    with pytest.raises(mz.UserError, match="made with `prediction=v`, not x0: choose another"):
        mz.write_samples(replace(pipe, prediction="x0"), tmp_path / "out", 2)


def test_a_grid_shows_a_few_hundred_at_most(trained: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("mezzotint.evaluation.folder.GRID", 4)
    for n in (4, 9):
        mz.write_samples(trained, tmp_path / f"{n}", n)
    few, many = (Image.open(tmp_path / f"{n}.png") for n in (4, 9))
    assert np.array_equal(np.asarray(few), np.asarray(many))


@pytest.mark.parametrize("name", ["x.png", "x.PNG", "x.npz"])
def test_a_files_name_is_refused(trained: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(mz.UserError, match="the name of a file: give a folder, such as "):
        mz.write_samples(trained, tmp_path / name, 2)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out/000000.png", "holds other images, such as 000000.png: choose another `out`"),
        ("out/cat.jpg", "holds other images, such as cat.jpg: choose another `out`"),
        ("out.png", "out.png exists and is not a grid of samples: choose another `out`"),
    ],
)
def test_images_of_somebody_else_stay(trained: Path, tmp_path, name: str, message: str) -> None:
    (tmp_path / "out").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / name)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(mz.UserError, match=message):
        mz.write_samples(trained, tmp_path / "out", 2)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_arrays_of_somebody_else_stay(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    np.save(tmp_path / "out/000001.npy", np.zeros(3))
    with pytest.raises(mz.UserError, match=r"holds other images, such as 000001\.npy: choose"):
        mz.write_samples(trained, tmp_path / "out", 2)


def test_a_class_that_does_not_exist_leaves_no_folder(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(mz.UserError, match="there is no class 10"):
        mz.write_samples(trained, tmp_path / "out", 2, 10)
    assert not (tmp_path / "out").exists()
