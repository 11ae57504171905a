from __future__ import annotations

import pytest
import torch

from mezzotint import UserError
from mezzotint.codec import Pixels


def test_every_value_survives_the_round_trip() -> None:
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    x = Pixels().encode(images)
    assert x.dtype == torch.float32
    assert (x.min(), x.max()) == (-1, 1)
    assert torch.equal(Pixels().decode(x), images)


def test_decoding_rounds_and_cuts() -> None:
    x = torch.tensor([-3.0, -1.0, 0.004, 0.999, 3.0])
    assert Pixels().decode(x).tolist() == [0, 0, 128, 255, 255]


def test_images_that_are_not_uint8_are_refused() -> None:
    with pytest.raises(UserError, match="must be uint8"):
        Pixels().encode(torch.rand(1, 3, 4, 4))
