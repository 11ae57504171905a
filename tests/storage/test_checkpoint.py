from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mezzotint import UserError
from mezzotint.storage import checkpoint


def write(folder: Path, step: int, keep: int = 3) -> Path:
    tensors = {"net": {"w": torch.full((4,), float(step))}}
    return checkpoint.save(folder, step, tensors, {"state": {"step": step}}, keep)


def fail(message: str) -> None:
    raise AssertionError(message)


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    saved = write(tmp_path, 7)
    assert saved == tmp_path / "step-7"
    checkpoint.verify(saved)
    assert load_file(saved / "net.safetensors")["w"].tolist() == [7.0] * 4
    assert json.loads((saved / "state.json").read_text()) == {"step": 7}
    assert sorted(json.loads((saved / "manifest.json").read_text())["sha256"]) == [
        "net.safetensors",
        "state.json",
    ]


def test_older_ones_are_pruned_by_step_and_not_by_name(tmp_path: Path) -> None:
    for step in (8, 9, 10, 100):
        write(tmp_path, step, keep=2)
    assert [p.name for p in checkpoint.listed(tmp_path)] == ["step-10", "step-100"]
    assert checkpoint.newest(tmp_path, fail) == tmp_path / "step-100"


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert checkpoint.newest(tmp_path / "nowhere", fail) is None


def spoil_bytes(folder: Path) -> None:
    path = folder / "net.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def spoil_short(folder: Path) -> None:
    path = folder / "net.safetensors"
    path.write_bytes(path.read_bytes()[:-3])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_bytes, "net.safetensors does not match"),
        (spoil_short, "net.safetensors does not match"),
        (lambda f: (f / "state.json").unlink(), "state.json is missing"),
        (lambda f: (f / "manifest.json").unlink(), "manifest.json cannot be read"),
        (lambda f: (f / "manifest.json").write_text('{"sha2'), "manifest.json cannot be read"),
        (lambda f: (f / "manifest.json").write_text("[]"), "manifest.json cannot be read"),
    ],
)
def test_a_damaged_one_is_reported_and_the_one_before_used(tmp_path, spoil, message) -> None:
    write(tmp_path, 1)
    spoil(write(tmp_path, 2))
    warnings: list[str] = []
    assert checkpoint.newest(tmp_path, warnings.append) == tmp_path / "step-1"
    assert len(warnings) == 1
    assert "step-2" in warnings[0]
    assert message in warnings[0]


def test_all_damaged_is_an_error(tmp_path: Path) -> None:
    spoil_bytes(write(tmp_path, 1))
    with pytest.raises(UserError, match="no other checkpoint is undamaged: restore a"):
        checkpoint.newest(tmp_path, lambda _: None)


def test_a_damaged_one_of_the_same_step_is_replaced(tmp_path: Path) -> None:
    spoil_bytes(write(tmp_path, 2))
    write(tmp_path, 2)
    assert checkpoint.newest(tmp_path, fail) == tmp_path / "step-2"
    assert [p.name for p in tmp_path.iterdir()] == ["step-2"]


def test_pruning_never_takes_the_checkpoint_just_written(tmp_path: Path) -> None:
    write(tmp_path, 8)
    spoil_bytes(write(tmp_path, 12))  # the run goes on from 8
    write(tmp_path, 9, keep=1)
    assert [p.name for p in tmp_path.iterdir()] == ["step-9"]
    assert checkpoint.newest(tmp_path, fail) == tmp_path / "step-9"


def test_a_full_disk_harms_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, 1, keep=1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "_write", full)
    with pytest.raises(UserError, match="No space"):
        write(tmp_path, 2, keep=1)
    monkeypatch.undo()
    assert checkpoint.newest(tmp_path, fail) == tmp_path / "step-1"
    write(tmp_path, 2, keep=1)  # and what was left behind is swept
    assert [p.name for p in tmp_path.iterdir()] == ["step-2"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_clear_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    tensors = {"net": {"w": torch.ones(3)}}
    first = checkpoint.save(tmp_path, 1, tensors, {"state": {"step": 1}}, keep=2)

    def full(path: Path, data: bytes) -> None:
        path.write_bytes(data[:5])
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(checkpoint, "_write", full)
    with pytest.raises(UserError, match=r"step-2 cannot be written \(.*\): free space on its disk"):
        checkpoint.save(tmp_path, 2, tensors, {"state": {"step": 2}}, keep=2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-1"]
    checkpoint.verify(first)
