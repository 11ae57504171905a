"""Make the C library's allocator keep freed memory."""

from __future__ import annotations

import ctypes
import sys

M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1  # malloc.h


def keep_freed_memory() -> None:
    """Let this process reuse the memory of one step's tensors in the next, on Linux with glibc.

    By default glibc returns large blocks to the kernel when they are freed, so every new tensor on
    a CPU costs page faults. If they are kept instead, the process never shrinks. On other systems
    this function does nothing.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # None with musl
    if mallopt:
        mallopt(M_MMAP_THRESHOLD, 2**30)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
