import pytest

from mezzotint.data import find_source
from mezzotint.errors import UserError


@pytest.mark.parametrize(("wrong", "meant"), [("glyph", "glyphs"), ("CIFAR-10", "cifar10")])
def test_misspelt_names(wrong, meant):
    with pytest.raises(UserError, match=f"{wrong}.*did you mean {meant}\\?"):
        find_source(wrong)


@pytest.mark.parametrize("data", ["", "no/such/folder", "photographs.zip"])
def test_nothing_there(data):
    with pytest.raises(UserError, match=f"no data set, file or folder '{data}': give glyphs, cif"):
        find_source(data)


def test_other_files(tmp_path):
    (tmp_path / "x.txt").write_text("pictures")
    with pytest.raises(UserError, match=r"x\.txt is no data set: give a folder, a \.zip"):
        find_source(str(tmp_path / "x.txt"))


def test_a_relative_path_is_made_absolute(animals, monkeypatch):
    monkeypatch.chdir(animals.parent)
    assert find_source("animals").key == find_source(str(animals)).key


def test_names_come_before_folders(animals, monkeypatch):
    animals.rename(animals.parent / "glyphs")
    monkeypatch.chdir(animals.parent)
    assert find_source("glyphs").key["kind"] == "glyphs"
    assert find_source("./glyphs").key["kind"] == "folder"
