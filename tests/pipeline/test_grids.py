"""Grids that are computed once and stored."""

from __future__ import annotations

from pathlib import Path

import pytest

import mezzotint as mz
from mezzotint.pipeline.grids import remembered


def test_a_grid_is_measured_once_and_remembered(tmp_path: Path) -> None:
    file, measured = tmp_path / "grids" / "a.json", []

    def measure() -> list[float]:
        measured.append(1)
        return [80.0, 1 / 3, 0.1]

    for _ in range(3):
        assert remembered(file, measure) == [80.0, 1 / 3, 0.1]
    assert len(measured) == 1
    assert list(file.parent.iterdir()) == [file]


def test_a_grid_that_could_not_be_measured_leaves_none(tmp_path: Path) -> None:
    def fail() -> list[float]:
        raise mz.UserError("the network's answer is not finite")

    with pytest.raises(mz.UserError, match="not finite"):
        remembered(tmp_path / "grids" / "a.json", fail)
    assert not list((tmp_path / "grids").glob("*.json"))


@pytest.mark.parametrize("damage", [b"", b"{", b"{}", b"[1, 2]", b'{"sigma/alpha": 3}', b"\xff"])
def test_a_damaged_grid_is_one_clear_line(tmp_path: Path, damage: bytes) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(damage)
    with pytest.raises(mz.UserError, match=f"{file} is damaged: delete it") as refused:
        remembered(file, lambda: [1.0])
    assert len(str(refused.value).splitlines()) == 1
    file.unlink()
    assert remembered(file, lambda: [1.0]) == [1.0]


def test_processes_that_measure_at_the_same_time_do_not_meet(tmp_path: Path) -> None:
    file = tmp_path / "grids" / "a.json"
    grid = remembered(file, lambda: remembered(file, lambda: [2.0, 1.0]))
    assert grid == [2.0, 1.0]
    assert list(file.parent.iterdir()) == [file]
