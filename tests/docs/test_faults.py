"""The tests that the page of faults names exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_fault_names_a_test_that_exists() -> None:
    page = (ROOT / "docs/results/faults.md").read_text()
    letters = re.findall(r"^\| [a-z] \|.*$", page, re.M)
    assert letters == sorted(letters, key=lambda row: row[2])
    rows = [*letters, *re.findall(r"^\| \d+ \|.*$", page, re.M)]
    assert len(rows) > len(letters) >= 40
    every = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    known = set(re.findall(r"def (test_\w+)", every))
    for row in rows:
        last = row.rsplit("|", 2)[1]
        names, files = re.findall(r"`(test_\w+)`", last), re.findall(r"`(tests/\S+)`", last)
        assert names or files, row
        assert set(names) <= known
        assert all((ROOT / file).is_file() for file in files)
