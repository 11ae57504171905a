"""The command `mezzotint export`: its files, its output and its errors."""

from __future__ import annotations

from pathlib import Path

import pytest

import mezzotint as mz

from commands import CapSys, call


def test_a_run_is_exported_and_read_back(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: CapSys
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, error = call(capsys, "export", str(trained), "--out", "theirs")
    assert code == 0, error
    assert "wrote the model for diffusers to theirs, with the model card" in out
    assert "hf upload OWNER/NAME theirs" in out
    assert mz.load("theirs").classes == mz.load(trained).classes


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("export nowhere", "there is no folder nowhere"),
        ("export RUN --format tflite", "diffusers"),
        ("export RUN --out full", "full is not empty: choose another folder"),
    ],
)
def test_bad_input_is_one_clear_line(
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: CapSys,
    words: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    code, _, error = call(capsys, *(str(trained) if w == "RUN" else w for w in words.split()))
    assert code == 2
    assert message in error
    assert error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
