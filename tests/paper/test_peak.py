from __future__ import annotations

from mmap import PAGESIZE, mmap
from pathlib import Path

import pytest
import torch

from mezzotint.paper import peak as module
from mezzotint.paper.peak import peak

BIG = 2**27  # bytes: 128 MiB


def hold() -> int:
    """Fill fresh pages from the system, because an allocator may reuse freed memory."""
    with mmap(-1, BIG) as memory:
        for first in range(0, BIG, PAGESIZE):
            memory[first] = 1
    return BIG


def test_what_was_freed_before_is_not_counted() -> None:
    if torch.cuda.is_available():
        pytest.skip("counts a GPU's memory")
    before, low = peak(lambda: 0)
    total, high = peak(hold)
    after, again = peak(lambda: 1)
    assert (before, total, after) == (0, BIG, 1)
    if low is None or high is None or again is None:
        pytest.skip("this kernel does not tell")
    assert high == pytest.approx(low + 128, abs=30)
    assert again == pytest.approx(low, abs=30)


@pytest.mark.parametrize("told", [False, True])
def test_where_the_system_does_not_tell_there_is_no_figure(monkeypatch, tmp_path, told) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    folder = tmp_path if told else Path("/nowhere")
    monkeypatch.setattr(module, "PROC", folder)
    (tmp_path / "status").write_text("Name:\tpython\nVmRSS:\t 10 kB\n")
    assert peak(lambda: "made") == ("made", None)
