import torch

from mezzotint.data import flip


def test_flips_where_the_mask_is_set_and_nowhere_else():
    images = torch.randn(3, 2, 4, 5)
    flipped = flip(images, torch.tensor([True, False, True]))
    for i in (0, 2):
        for x in range(5):
            assert torch.equal(flipped[i, :, :, x], images[i, :, :, 4 - x])
    assert torch.equal(flipped[1], images[1])


def test_twice_is_once_too_many():
    images = torch.arange(48, dtype=torch.uint8).reshape(2, 2, 3, 4)
    mask = torch.tensor([True, False])
    assert flip(images, mask).dtype == torch.uint8
    assert torch.equal(flip(flip(images, mask), mask), images)
