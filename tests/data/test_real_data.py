import numpy as np
import pytest

from mezzotint.data import find_source, prepare
from mezzotint.data.sources import cifar10

pytestmark = pytest.mark.shared


def test_cifar10(real_data):
    train = prepare(str(real_data / "cifar10"))
    assert train.images.shape == (50_000, 32, 32, 3)
    assert train.classes == cifar10.CLASSES
    assert np.bincount(train.labels).tolist() == [5_000] * 10
    # The channel means that the literature gives as (0.4914, 0.4822, 0.4465).
    np.testing.assert_allclose(train.images.mean((0, 1, 2)), [125.3, 122.95, 113.87], atol=0.05)
    assert find_source(str(real_data / "cifar10"), "test").count == 10_000


def test_tiny_imagenet(real_data):
    validation = prepare(str(real_data / "tiny-imagenet-100"), split="validation")
    assert validation.images.shape == (5_000, 64, 64, 3)
    assert len(validation.classes) == 100
    assert np.bincount(validation.labels).tolist() == [50] * 100
    grey = np.ptp(validation.images, axis=3).max((1, 2)) == 0
    assert 0 < grey.sum() < 500
