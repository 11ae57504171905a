"""A folder of samples: what is in it, and what of somebody else's stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mezzotint as mz


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


def test_a_smaller_request_takes_the_place_of_a_larger(trained: Path, tmp_path: Path) -> None:
    pipe = mz.load(trained)
    for n in (4, 2):
        mz.write_samples(pipe, str(tmp_path / "out"), n)
    assert len(list((tmp_path / "out").iterdir())) == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out/000000.png", "holds other images, 000000.png: choose another `out`"),
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


def test_a_class_that_does_not_exist_leaves_no_folder(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(mz.UserError, match="there is no class 10"):
        mz.write_samples(trained, tmp_path / "out", 2, 10)
    assert not (tmp_path / "out").exists()
