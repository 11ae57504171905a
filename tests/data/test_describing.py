"""The output of `mz.describe` and `mezzotint data`."""

import json
from pathlib import Path

import pytest
from PIL import Image

import mezzotint as mz
from mezzotint.cli import main

from trees import grown, plant


@pytest.fixture
def flowers(tmp_path):
    folders = [f"flowers/{split}/{c}" for split in ("Train", "Valid") for c in ("1", "2", "10")]
    root = plant(tmp_path / "d", grown(folders), {"LICENSE": "x", "flowers/a.csv": "x"})
    Image.new("L", (7, 5)).save(root / "flowers/Train/2/grey.png")
    (root / "flowers/Train/2/bad.jpg").write_text("x")
    return root


def test_the_description(flowers):
    found = mz.describe(flowers)
    assert (found.data, found.kind) == (str(flowers), "a folder of images")
    assert found.layout == (
        "splits (Train, Valid), each with a folder for each class, in the folder flowers"
    )
    train, held = found.splits
    assert (train.name, train.images, train.seen) == ("train", 8, 8)
    assert train.classes == {"1": 2, "2": 4, "10": 2}
    assert list(train.classes) == ["1", "2", "10"]
    assert (train.sizes, train.modes) == ({(4, 4): 6, (5, 7): 1}, {"RGB": 6, "L": 1})
    assert train.unreadable == ("2/bad.jpg (not an image)",)
    assert (held.name, held.images, held.classes) == ("validation", 6, {"1": 2, "2": 2, "10": 2})
    assert [str(left) for left in found.left_out] == [
        "2 files that are not images (LICENSE, flowers/a.csv)"
    ]
    assert str(found).splitlines()[2:6] == [
        "train: 8 images",
        "  3 classes (1: 2, 2: 4, 10: 2)",
        "  sizes: 4x4: 6, 5x7: 1",
        "  modes: RGB: 6, L: 1",
    ]


def test_sizes_are_those_of_the_turned_images(tmp_path, noise):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    (tmp_path / "d").mkdir()
    for name in ("a.jpg", "b.png", "c.tif"):
        Image.fromarray(noise(0, 8, 16, 3)).save(tmp_path / "d" / name, exif=exif)
    assert mz.describe(tmp_path / "d").splits[0].sizes == {(16, 8): 3}
    assert mz.prepare(tmp_path / "d").images.shape == (3, 16, 8, 3)


def test_a_path_is_never_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(mz.UserError, match="there is no data set, file or folder"):
        mz.describe(Path("glyphs"))
    with pytest.raises(mz.UserError, match="there is no data set, file or folder"):
        next(mz.training("glyphs-ddpm", data=Path("glyphs"), out=tmp_path / "run"))


def test_the_verb(flowers, capsys):
    main(["data", str(flowers)])
    assert capsys.readouterr().out == f"{mz.describe(flowers)}\n"
    main(["data", str(flowers), "--json"])
    content = json.loads(capsys.readouterr().out)
    assert content["splits"][0]["sizes"] == {"4x4": 6, "5x7": 1}
    assert content["splits"][0]["classes"] == {"1": 2, "2": 4, "10": 2}
    assert content == {**mz.describe(flowers).as_json(), "examples": None}


def test_labels_that_are_not_wanted(tmp_path, capsys):
    root = plant(tmp_path / "album", [*grown(["."]), *grown(["New Folder (2)"])])
    with pytest.raises(mz.UserError, match="beside its class folders"):
        mz.describe(root)
    assert mz.describe(root, conditional=False).splits[0].images == 4
    with pytest.raises(SystemExit, match="2"):
        main(["data", str(root)])
    assert "or pass --no-conditional to take all" in capsys.readouterr().err
    main(["data", str(root), "--no-conditional"])
    assert "train: 4 images\n  no classes" in capsys.readouterr().out


def test_a_split_that_is_refused_is_described_as_such(tmp_path):
    root = plant(tmp_path / "d", [*grown(["train/a", "test/a"]), "test/b/"])
    found = mz.describe(root)
    assert found.splits[0].images == 2
    assert "class folders without images (b)" in found.splits[1].problem
    assert "test: refused: " in str(found)
    with pytest.raises(mz.UserError, match="no data set, file or folder"):
        mz.describe(tmp_path / "nowhere")


def test_other_kinds(tmp_path, encode, noise, write_parquet):
    content = encode(Image.fromarray(noise(0, 5, 7)), "PNG")
    path = write_parquet(tmp_path / "x.parquet", [content] * 3, [0, 1, 1], ["a", "b"])
    (split,) = mz.describe(path).splits
    assert (split.classes, split.sizes, split.modes) == ({"a": 1, "b": 2}, {(5, 7): 3}, {"L": 3})
    glyphs = mz.describe("glyphs")
    assert [s.images for s in glyphs.splits] == [20_000, 2_000]
    assert glyphs.splits[0].seen == 1_000


def test_a_raw_file_is_described_as_unreadable(tmp_path, noise):
    (tmp_path / "d").mkdir()
    for name in ("a.tif", "b.dng"):
        Image.fromarray(noise(0, 8, 8, 3)).save(tmp_path / "d" / name, "TIFF")
    (split,) = mz.describe(tmp_path / "d").splits
    assert split.sizes == {(8, 8): 1}
    assert split.unreadable[0].startswith("b.dng (a camera's raw file")
