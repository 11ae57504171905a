"""The C library's allocator, told to keep what is freed."""

from __future__ import annotations

import ctypes
import sys

M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1  # malloc.h


def keep_freed_memory() -> None:
    """Let this process reuse the memory of one step's tensors in the next, on Linux with glibc.

    By default glibc gives large blocks back to the kernel as they are freed, and each new tensor on
    a CPU is paid for in page faults. What it costs is that the process never shrinks. Does nothing
    elsewhere.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt:
        mallopt(M_MMAP_THRESHOLD, 2**30)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
