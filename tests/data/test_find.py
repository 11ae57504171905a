import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezzotint.data import find_source, jpegs
from mezzotint.errors import UserError


@pytest.mark.parametrize(("wrong", "meant"), [("glyph", "glyphs"), ("CIFAR-10", "cifar10")])
def test_misspelt_names(wrong, meant):
    with pytest.raises(UserError, match=f"{wrong}.*did you mean {meant}\\?"):
        find_source(wrong)


def test_a_misspelt_path_is_offered_its_neighbour(tmp_path):
    (tmp_path / "photographs").mkdir()
    with pytest.raises(UserError, match=r"did you mean .*photographs\?"):
        find_source(str(tmp_path / "photograph"))


@pytest.mark.parametrize("data", ["", "no/such/folder", "photographs.zip"])
def test_nothing_there(data):
    expected = f"'{data}': give glyphs, cifar10, hub:OWNER/NAME or a path that exists"
    with pytest.raises(UserError, match=f"no data set, file or folder {expected}"):
        find_source(data)


def test_a_folder_without_permission(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(UserError, match=r"cannot be read \(Permission denied\)"):
        find_source(str(tmp_path))


def test_a_name_that_is_too_long():
    with pytest.raises(UserError, match=r"cannot be read \(File name too long"):
        find_source("a" * 300)


def test_other_files(tmp_path):
    (tmp_path / "x.txt").write_text("images")
    expected = (
        r"x\.txt is not a data set: give a copy of cifar-10-python\.tar\.gz, a folder of MNIST's "
        r"idx files, a \.parquet file or a folder of them, a \.zip, a \.tar or \.tar\.gz, "
        r"a \.npy or \.npz of images, a folder of images$"
    )
    with pytest.raises(UserError, match=expected):
        find_source(str(tmp_path / "x.txt"))


def test_a_relative_path_is_made_absolute(animals, monkeypatch):
    monkeypatch.chdir(animals.parent)
    assert find_source("animals").key == find_source(str(animals)).key


def test_names_come_before_folders(animals, monkeypatch):
    animals.rename(animals.parent / "glyphs")
    monkeypatch.chdir(animals.parent)
    assert find_source("glyphs").key["kind"] == "glyphs"
    assert find_source("./glyphs").key["kind"] == "folder"


def test_a_clone_of_a_data_set_of_the_hub(animals, tmp_path, write_parquet):
    root, content = tmp_path / "clone", (animals / "cats/a.png").read_bytes()
    for name in ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"):
        write_parquet(root / f"data/{name}.parquet", [content] * 2, [0, 1])
    write_parquet(root / ".cache/train.parquet", [content])
    (root / "README.md").write_text("animals")
    source = find_source(str(root))
    assert (source.name, source.count) == ("clone-train", 4)
    assert source.key == find_source(str(root / "data")).key
    assert find_source(str(root), "test").count == 2
    write_parquet(root / "small/train.parquet", [content])  # which of them is meant?
    with pytest.raises(
        UserError, match=r"holds no images: it holds data/.*parquet: give that path"
    ):
        find_source(str(root))
    shutil.rmtree(root / "small")
    shutil.copytree(animals, root / "images")
    with pytest.raises(UserError, match=r"parquet files \(.*\) and image files: give the path"):
        find_source(str(root))


def make_jpegs(folder):
    """Rewrite three of the five images of `animals` as JPEG, without changing their names."""
    for name in ("cats/a.png", "cats/more/c.png", "dogs/a.png"):
        Image.open(folder / name).save(folder / name, "JPEG")


def pack(folder):
    return shutil.make_archive(str(folder), "zip", folder)


def test_jpegs_of_a_folder_and_a_zip(animals):
    assert jpegs(str(animals), "train") == jpegs(pack(animals), "train") == 0
    make_jpegs(animals)
    (animals / "cats" / "b.png").rename(animals / "cats" / "b.jpg")  # a PNG all the same
    assert jpegs(str(animals), "train") == jpegs(pack(animals), "train") == 3
    assert jpegs(str(animals / "dogs"), "train") == 1


def test_jpegs_of_a_split(animals, tmp_path):
    root = tmp_path / "both"
    shutil.copytree(animals, root / "train")
    make_jpegs(animals)
    shutil.copytree(animals, root / "val")
    for data in (str(root), pack(root)):
        assert jpegs(data, "train") == 0
        assert jpegs(data, "validation") == 3
        with pytest.raises(UserError, match="no split 'test': choose train, val"):
            jpegs(data, "test")


def test_jpegs_in_parquet_and_none_in_other_data(tmp_path, encode, noise, write_parquet):
    pixels = noise(0, 2, 6, 8, 3)
    np.save(tmp_path / "a.npy", pixels)
    rows = [encode(Image.fromarray(pixels[0]), kind) for kind in ("JPEG", "PNG", "JPEG")]
    parquet = write_parquet(tmp_path / "set" / "a.parquet", [*rows, None])
    assert jpegs(str(parquet), "train") == jpegs(str(parquet.parent), "train") == 2
    others = ("glyphs", "cifar10", str(tmp_path / "a.npy"))
    assert [jpegs(data, "train") for data in others] == [0, 0, 0]


def test_a_class_whose_name_is_no_utf_8_has_one_that_can_be_written(tmp_path: Path) -> None:
    for name in (b"caf\xe9", b"caf\xe8", b"dog"):
        folder = tmp_path / os.fsdecode(name)
        folder.mkdir()
        Image.new("RGB", (8, 8)).save(folder / "0.png")
    classes = find_source(str(tmp_path)).classes
    assert set(classes) == {"caf\\xe9", "caf\\xe8", "dog"}
    "".join(classes).encode()
