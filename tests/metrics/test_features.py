from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from metrics.pixels import pictures, pixel_network, seen
from mezzotint.errors import UserError
from mezzotint.metrics import Features, features, network


def test_they_are_what_the_network_sees(digits: np.ndarray) -> None:
    net = network("glyphs")
    passes: list[int] = []
    found = features(net, digits[:120], passes.append)
    wanted = net(torch.from_numpy(digits[:120]).permute(0, 3, 1, 2))
    assert found.done == found.count == 120
    assert passes == [50, 100, 120]
    for a, b in (
        (found.pool, wanted.pool),
        (found.spatial, wanted.spatial),
        (found.probabilities, wanted.logits.softmax(1)),
    ):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * float(b.abs().max()))
    np.testing.assert_allclose(found.probabilities.sum(1), 1, atol=1e-6)


def test_images_may_come_in_parts() -> None:
    x = np.random.default_rng(0).standard_normal((130, 4))
    images = torch.from_numpy(pictures(x)).permute(0, 3, 1, 2)
    found = Features(pixel_network(), 200)
    for part in images.split(60):
        found.add(part)
        assert len(found.pool) == len(found.spatial) == len(found.probabilities) == found.done
    assert found.done == 130
    np.testing.assert_array_equal(found.spatial, 2 * found.pool)
    np.testing.assert_array_equal(found.pool, seen(x).pool)


def test_a_mapped_read_only_array_will_do(tmp_path: Path) -> None:
    images = pictures(np.random.default_rng(0).standard_normal((30, 4)))
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    found = features(pixel_network(), mapped)
    np.testing.assert_array_equal(found.pool, features(pixel_network(), images).pool)


def test_nothing_is_left_in_the_cache(own_cache: Path) -> None:
    found = seen(np.zeros((60, 4)))
    assert found.pool.base is not None
    assert not [path for path in own_cache.rglob("*") if path.is_file()]


def test_images_of_mixed_sizes_are_refused() -> None:
    found = Features(pixel_network(), 10)
    found.add(torch.zeros(5, 3, 1, 4, dtype=torch.uint8))
    with pytest.raises(UserError, match="the images have different sizes, 1x4 and 2x2: scale them"):
        found.add(torch.zeros(5, 3, 2, 2, dtype=torch.uint8))
    assert found.done == 5


def test_no_images_have_no_features() -> None:
    with pytest.raises(UserError, match="no images to measure"):
        features(pixel_network(), np.zeros((0, 1, 4, 3), np.uint8))


def test_float_images_are_refused() -> None:
    with pytest.raises(UserError, match="images are float32 from 0 to 0: give uint8"):
        Features(pixel_network(), 10).add(torch.zeros(5, 3, 1, 4))
