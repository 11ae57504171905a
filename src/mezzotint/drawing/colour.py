"""Statistics of the colours of many images."""

from __future__ import annotations

import numpy as np


def channel_statistics(images: np.ndarray) -> dict[str, list[float]]:
    """Return the mean and the standard deviation of each channel of images (N, H, W, C).

    Both are in the units of the images: grey levels from 0 to 255 for uint8.
    """
    if images.dtype != np.uint8:
        rows = images.reshape(-1, images.shape[-1]).astype(np.float64)
        found = {"mean": rows.mean(0), "std": rows.std(0)}
        return {name: [float(f"{v:.5g}") for v in values] for name, values in found.items()}
    counts = [np.bincount(images[..., c].ravel(), minlength=256) for c in range(images.shape[-1])]
    grey = np.arange(256)
    means = [float(np.average(grey, weights=n)) for n in counts]
    spreads = [
        float(np.average((grey - mean) ** 2, weights=n)) ** 0.5
        for mean, n in zip(means, counts, strict=True)
    ]
    return {"mean": [round(m, 2) for m in means], "std": [round(s, 2) for s in spreads]}
