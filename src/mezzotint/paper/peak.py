"""The peak memory of a call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

Result = TypeVar("Result")

PROC = Path("/proc/self")


def peak(act: Callable[[], Result]) -> tuple[Result, float | None]:
    """What ``act()`` returns, and the most memory, in MiB, that this process held meanwhile.

    All that it held, what was there before included: of a GPU's memory the tensors' where there is
    one, else what is resident. None where the system does not tell: macOS, or a kernel that does
    not let the mark be reset.
    """
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return act(), torch.cuda.max_memory_allocated() / 2**20
    try:
        (PROC / "clear_refs").write_text("5")  # lowers VmHWM to what is resident now
    except OSError:
        return act(), None
    return act(), _highest()


def _highest() -> float | None:
    for line in (PROC / "status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return None
