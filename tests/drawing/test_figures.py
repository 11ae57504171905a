from __future__ import annotations

import numpy as np
import pytest
import torch

from mezzotint.drawing.colour import channel_statistics
from mezzotint.drawing.figures import grid


def test_channel_statistics_are_numpys() -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 3), dtype=np.uint8)
    images[..., 1] //= 2
    got = channel_statistics(images)
    flat = images.reshape(-1, 3).astype(float)
    assert got["mean"] == pytest.approx(flat.mean(0), abs=0.006)
    assert got["std"] == pytest.approx(flat.std(0), abs=0.006)


def plain(n: int) -> torch.Tensor:
    """Return images with one value each: image i has the value i everywhere."""
    return torch.arange(n, dtype=torch.uint8)[:, None, None, None].expand(n, 3, 32, 32)


def test_images_stand_in_order_at_three_times_their_size() -> None:
    sheet = np.asarray(grid(plain(20)))
    assert sheet.shape == (2 + 3 * 98, 2 + 8 * 98, 3)
    values = [int(sheet[50 + 98 * (i // 8), 50 + 98 * (i % 8), 0]) for i in range(20)]
    assert values == list(range(20))


def test_classes_have_rows_of_their_own() -> None:
    labels = [i % 3 for i in range(30)]  # ten of each
    sheet = np.asarray(grid(plain(30), labels, ["ant", "bee", "cow"]))
    right = sheet[:, -50]
    rows = [int(right[50 + 98 * k, 0]) for k in range(3)]
    assert rows == [27, 28, 29]  # the last of each class, at the right


def test_more_than_a_row_of_a_class_goes_on_below() -> None:
    sheet = grid(plain(40), [0] * 20 + [1] * 20, ["a", "b"])
    assert sheet.height == 2 + 4 * 98
