from __future__ import annotations

import json
from pathlib import Path

import pytest

from mezzotint.storage.log import Log, read


def test_rows_after_the_checkpoint_are_taken_out(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = Log(path, 0)
    for step in (1, 2, 3):
        log.write({"step": step, "images": 8 * step, "loss": 0.1 * step})
    assert [row["step"] for row in read(path)] == [1, 2, 3]
    Log(path, 2).write({"step": 3, "images": 24, "loss": 9.0})
    assert [row["loss"] for row in read(path)] == [0.1, 0.2, 9.0]


def test_a_line_cut_short_by_a_crash_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps({"step": 1, "images": 8}) + '\n{"step": 2, "lo')
    assert read(path) == [{"step": 1, "images": 8}]
    path.write_text(path.read_text() + '\n{"step": 3, "images": 24}\n')
    Log(path, 5).write({"step": 4, "images": 32})
    assert [row["step"] for row in read(path)] == [1, 3, 4]


@pytest.mark.parametrize(
    "damaged",
    [
        '{"step": null, "images": 8}',
        '{"step": 1}',
        '{"step": -1, "images": 8}',
        '{"step": true, "images": 8}',
        '{"step": 1, "images": "8"}',
        '{"step": 1, "images": 8, "loss": "low"}',
        '{"step": 1, "images": 8, "loss": [1]}',
        '{"step": 1, "images": 8, "lr": 1' + 400 * "0" + "}",
        '{"step": 1, "images": 8, "figure": {"name": "fd"}}',
        '{"step": 1, "images": 8, "figure": 3}',
        100_000 * "[",
        100_000 * '{"step":',
    ],
)
def test_a_damaged_row_is_left_out_and_costs_no_other(tmp_path: Path, damaged: str) -> None:
    path, whole = tmp_path / "log.jsonl", {"step": 2, "images": 16, "loss": 0.5}
    path.write_text(damaged + "\n" + json.dumps(whole) + "\n")
    assert read(path) == [whole]
