"""Files that stay whole after a crash."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mezzotint.errors import UserError
from mezzotint.storage import files


@pytest.mark.parametrize("content", [b"\x00\xff", "Œuvre\n", b"", ""])
def test_a_file_is_made_and_replaced(tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "a.json"
    for _ in range(2):
        files.replace(path, content)
        expected = content if isinstance(content, bytes) else content.encode()
        assert path.read_bytes() == expected
        assert list(tmp_path.iterdir()) == [path]
        files.replace(path, "something else, and longer")


def test_it_may_be_read_by_whoever_may_read_other_files(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("x")
    files.replace(tmp_path / "a.json", "x")
    assert (tmp_path / "a.json").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_fails_leaves_the_old_content_and_nothing_beside(tmp_path: Path, error) -> None:
    path = tmp_path / "a.png"
    path.write_text("old")

    def fail() -> None:
        with files.beside(path) as partial:
            partial.write_text("ne")
            raise error("pulled the plug")

    with pytest.raises(error, match="pulled the plug"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_fills_up_leaves_the_old_content(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.replace(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / f"{'long' * 50}.npy"
    with files.beside(path) as first, files.beside(path) as second:
        assert first != second
        assert {first.parent, second.parent} == {tmp_path}
        assert first.suffix == ".npy"
        assert first.name.startswith(".")
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"  # the last to finish
    assert list(tmp_path.iterdir()) == [path]


def test_looking_whether_a_file_can_be_written_leaves_it_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "new" / "figures.jsonl"
    files.writable(path)
    assert not path.exists()
    path.write_text("mine")
    files.writable(path)
    assert path.read_text() == "mine"


def test_a_name_that_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    """The library that reads weights cannot open such a path."""
    with pytest.raises(UserError, match=r"the name of `out` is not UTF-8, b'r\\xe9'") as no:
        files.as_folder(os.fsdecode(b"r\xe9"))
    assert str(no.value).isascii()
    assert files.as_folder("caf\u00e9") == Path("caf\u00e9")
    assert files.as_folder("~/runs/x") == Path.home() / "runs" / "x"


def test_a_path_is_named_after_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    assert files.named_after(Path("x/v1.0"), ".png") == Path("x/v1.0.png")  # as it was given
    assert files.named_after(Path(), ".png") == tmp_path / "a" / "b.png"
    assert files.named_after(Path(".."), ".png") == tmp_path / "a.png"
