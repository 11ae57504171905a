from __future__ import annotations

import json
from pathlib import Path

from mezzotint.storage.log import Log, read


def test_rows_after_the_checkpoint_are_taken_out(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = Log(path, 0)
    for step in (1, 2, 3):
        log.write({"step": step, "loss": 0.1 * step})
    assert [row["step"] for row in read(path)] == [1, 2, 3]
    Log(path, 2).write({"step": 3, "loss": 9.0})
    assert [row["loss"] for row in read(path)] == [0.1, 0.2, 9.0]


def test_a_line_cut_short_by_a_crash_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps({"step": 1}) + '\n{"step": 2, "lo')
    assert read(path) == [{"step": 1}]
    path.write_text(path.read_text() + '\n{"step": 3}\n')
    Log(path, 5).write({"step": 4})
    assert [row["step"] for row in read(path)] == [1, 3, 4]
