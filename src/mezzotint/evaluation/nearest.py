"""Draw measured images with their nearest neighbours."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL.Image import Image
from torch import Tensor

from mezzotint.data import Prepared
from mezzotint.data.rgb import in_rgb
from mezzotint.drawing import figures
from mezzotint.evaluation.against import Against
from mezzotint.evaluation.measuring import Measure
from mezzotint.metrics import Features
from mezzotint.metrics.neighbours import nearest
from mezzotint.storage import files
from mezzotint.storage.arrays import nchw

SHOWN, NEAREST = 10, 5  # the number of images that are drawn, and of neighbours for each


def draw_nearest(
    out: Path | None, to: Against, measure: Measure, features: Features, images: Tensor
) -> Path | None:
    """Save the drawing that `closest` makes as ``out/nearest.png``, and return its path.

    If ``out`` is None, or the reference is a file of statistics without images, nothing is drawn,
    and the result is None.
    """
    if out is None or to.images is None:
        return None
    path = out / "nearest.png"
    with files.beside(path) as partial:
        closest(features, measure, images, to.images).save(partial)
    return path


def closest(features: Features, measure: Measure, images: Tensor, against: Prepared) -> Image:
    """Draw each of the first measured images beside its five nearest reference images.

    ``images``, uint8 (n, 3, H, W), are the first measured images. Distances are computed between
    features; ``features`` are the features of all measured images. Returns the drawing.
    """
    n, k = len(images), min(NEAREST, len(against))
    queries = torch.from_numpy(features.pool[:n])
    found = nearest(queries, measure.reference.pool, k)[1].flatten()
    neighbours = nchw(in_rgb(against).images[found.numpy()])
    neighbours = neighbours.reshape(n, k, *neighbours.shape[1:])
    rows = torch.cat([images[:, None], neighbours], 1)
    labels = [i for i in range(n) for _ in range(k + 1)]
    return figures.grid(rows.flatten(0, 1), labels, [f"{i}" for i in range(n)])
