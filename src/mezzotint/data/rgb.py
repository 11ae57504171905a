"""Convert the images of a data set to 8-bit RGB as they are read, for feature networks."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch

from mezzotint.data.images import Pixels
from mezzotint.data.prepared import Prepared
from mezzotint.data.values import EIGHT_BIT, Array, Values
from mezzotint.errors import warn


class _Converted:
    """Images (N, H, W, C) that are converted to uint8 (N, H, W, 3) when they are indexed."""

    dtype = np.dtype(np.uint8)

    def __init__(self, images: Pixels, values: Values) -> None:
        self.images, self.values = images, values
        self.shape = (*images.shape[:3], 3)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: Any) -> Array:
        picked = torch.from_numpy(np.array(self.images[rows]))
        whole = picked if picked.ndim == 4 else picked[None]
        seen = self.values.rgb(whole.permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
        return seen if picked.ndim == 4 else seen[0]


def warn_of_rgb(values: Values, channels: int) -> None:
    """Warn if images must be converted to RGB; raise UserError if they cannot be."""
    if said := values.as_rgb(channels):
        warn(said)


def in_rgb(data: Prepared) -> Prepared:
    """Return a data set as RGB; 8-bit RGB is returned unchanged.

    Raises UserError for channels other than grey or RGB.
    """
    if not data.values.as_rgb(data.images.shape[3]):
        return data
    name = f"RGB of {data.fingerprint}"
    return replace(
        data,
        images=cast(Pixels, _Converted(data.images, data.values)),
        fingerprint=hashlib.sha256(name.encode()).hexdigest(),
        values=EIGHT_BIT,
    )
