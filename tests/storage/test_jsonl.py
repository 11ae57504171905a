"""Files of rows, whole and damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from mezzotint.storage import jsonl


def test_rows_come_back_from_a_byte_on(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    assert jsonl.read(path) == []
    jsonl.append(path, {"a": 1})
    size = path.stat().st_size
    jsonl.append(path, {"b": "\u2028"})
    assert jsonl.read(path) == [{"a": 1}, {"b": "\u2028"}]
    assert jsonl.read(path, size) == [{"b": "\u2028"}]


@pytest.mark.parametrize("damaged", [b'{"b": 2', b'{"b\xff": 2}', b"[1]", b"\xff\xfe", b"1", b""])
def test_a_damaged_line_is_left_out_and_costs_no_other(tmp_path: Path, damaged: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n' + damaged)
    assert jsonl.read(path) == [{"a": 1}]
    jsonl.append(path, {"c": 3})
    assert jsonl.read(path) == [{"a": 1}, {"c": 3}]
    assert path.read_bytes().startswith(b'{"a": 1}\n' + damaged)
