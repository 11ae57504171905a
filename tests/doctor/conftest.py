from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from mezzotint.data.sources import glyphs


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    """800 images of digits, and their labels."""
    images = np.stack([glyphs.draw("train", i) for i in range(800)])
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), torch.arange(800) % 10
