"""Images on the disk, and in the layout of networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from mezzotint.storage.arrays import nchw, nhwc


def test_every_pixel_keeps_its_place() -> None:
    images = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)
    got = nchw(images)
    assert (got.shape, got.dtype, got.is_contiguous()) == ((2, 5, 3, 4), torch.uint8, True)
    for n, h, w, c in np.ndindex(images.shape):
        assert got[n, c, h, w] == images[n, h, w, c]
    assert torch.equal(nchw(torch.from_numpy(images)), got)
    np.testing.assert_array_equal(nhwc(got), images)


def test_what_lies_on_the_disk_is_copied(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((1, 2, 1, 1), np.uint8))
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    nchw(mapped)[:] = 1  # warns of no array that cannot be written, and writes none
    assert not mapped.any()
