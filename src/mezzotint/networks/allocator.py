"""Make the C library's allocator keep freed memory."""

from __future__ import annotations

import ctypes
import sys

M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1  # malloc.h


def keep_freed_memory() -> None:
    """Let this process reuse the memory of freed tensors, on Linux with glibc.

    By default glibc returns large freed blocks to the kernel, so every new large tensor on a CPU
    costs page faults. After this call glibc keeps such blocks, so the memory of the process
    does not shrink. On other systems this function does nothing.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has no such function
    if mallopt:
        mallopt(M_MMAP_THRESHOLD, 2**30)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
