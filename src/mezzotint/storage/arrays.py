"""Arrays on the disk, and conversions of images between (N, H, W, C) and (N, C, H, W)."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

SUMMED = 1 << 28
"""When an array of at most this many bytes is read from the cache, its checksum is verified."""


def create(path: Path, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """Return a memory map of a new .npy file, whose space on the disk is reserved.

    If the disk is full, this raises OSError. Without the reservation, the first write that finds
    the disk full would end the process by a signal.
    """
    kind = np.dtype(dtype)
    header = {"descr": kind.str, "fortran_order": False, "shape": shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()
        file.flush()
        allocate(file.fileno(), start + kind.itemsize * int(np.prod(shape)))
    return np.memmap(path, kind, "r+", start, shape)


def allocate(descriptor: int, size: int) -> None:
    """Reserve a file's bytes on the disk, as zeros. Raises OSError if the disk is full.

    Some systems and file systems cannot reserve space; the file then grows as it is written.
    """
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise


def save(path: Path, array: npt.NDArray[Any]) -> None:
    """Write a .npy file. If the disk is full, the error says so; `numpy.save` would hide this."""
    content = io.BytesIO()
    np.save(content, array)
    path.write_bytes(content.getbuffer())


def save_summed(path: Path, array: npt.NDArray[Any]) -> None:
    """Write a .npy file and append its SHA-256. Readers of .npy files ignore such added bytes."""
    content = io.BytesIO()
    np.save(content, array)
    path.write_bytes(content.getvalue() + hashlib.sha256(content.getbuffer()).digest())


def load_summed(path: Path) -> npt.NDArray[Any]:
    """Read a .npy file, plain or from `save_summed`. Raises ValueError for a wrong SHA-256."""
    content = path.read_bytes()
    stream = io.BytesIO(content)
    array: npt.NDArray[Any] = np.load(stream)
    end = stream.tell()
    if content[end:] and content[end:] != hashlib.sha256(content[:end]).digest():
        raise ValueError(f"{path} does not match its SHA-256: delete it")
    return array


def crc(array: npt.NDArray[Any]) -> int:
    """Return the CRC-32 of an array's bytes, which are read in chunks."""
    found, rows = 0, max(1, (1 << 24) // max(1, array[:1].nbytes))
    for start in range(0, len(array), rows):
        found = zlib.crc32(np.ascontiguousarray(array[start : start + rows]).data, found)
    return found


def nchw(images: npt.NDArray[Any] | Tensor) -> Tensor:
    """Turn images (N, H, W, C) into a contiguous tensor (N, C, H, W) of the same type.

    An input array is copied, so the result is never a memory map of a file. An input tensor stays
    on its device.
    """
    rows = images if isinstance(images, Tensor) else torch.from_numpy(np.array(images))
    return rows.permute(0, 3, 1, 2).contiguous()


def nhwc(images: Tensor) -> npt.NDArray[Any]:
    """Turn images (N, C, H, W) into an array (N, H, W, C) of the same type."""
    return images.permute(0, 2, 3, 1).cpu().numpy()
