"""A few acts of the fuzzer; benchmarks/fuzz.py carries out a thousand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[2] / "benchmarks" / "fuzz.py"


@pytest.mark.slow
def test_what_is_spoilt_at_random_is_one_line_or_a_right_result(tmp_path: Path) -> None:
    """The fuzzer forks, so it runs in a process without the changes of other tests."""
    flags = ["--acts", "20", "--seed", "1", "--out", str(tmp_path / "acts")]
    done = subprocess.run([sys.executable, str(FUZZ), *flags], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
