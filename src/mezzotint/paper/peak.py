"""Measure the peak memory of a call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from mezzotint import devices

Result = TypeVar("Result")

PROC = Path("/proc/self")


def peak(act: Callable[[], Result]) -> tuple[Result, float | None]:
    """Call ``act``; return its result and the peak memory of this process in MiB.

    If there is a GPU, only the memory of tensors on the GPU counts. If there is no GPU, all
    resident memory of the process counts. Memory that was in use before the call counts too. The
    peak is None if the system cannot measure it, as on macOS, or on a Linux kernel that cannot
    reset the peak.
    """
    if devices.gpu():
        devices.begin_peak()
        return act(), devices.peak_mib()
    try:
        (PROC / "clear_refs").write_text("5")  # lowers VmHWM to the memory that is resident now
    except OSError:
        return act(), None
    return act(), _highest()


def _highest() -> float | None:
    for line in (PROC / "status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return None
