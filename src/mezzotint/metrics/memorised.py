"""The share of images that are suspiciously near to a training image."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from mezzotint.errors import counted
from mezzotint.metrics import interval
from mezzotint.metrics.comparison import Comparison
from mezzotint.metrics.figure import Figure
from mezzotint.metrics.left_out import LeftOut
from mezzotint.metrics.neighbours import nearest


def memorised(seen: Comparison) -> Iterator[Figure]:
    """Yield the share of images that are `copied` from the reference."""
    training = seen.against.pool
    if len(training) < 2:
        raise LeftOut(
            f"the reference has {counted(len(training), 'image')}: give a reference of two or more"
        )
    near = copied(seen.pool, training)
    note = "compare it with the same figure of a test set, which is above 0 by chance"
    share = float(near.double().mean())
    yield seen.figure("memorised", share, interval.of_share(near), note)


def copied(made: Tensor, training: Tensor) -> Tensor:
    """Return which of the images are suspiciously near to a training image: (M,) bool.

    For an image, let t be the nearest training image, at the distance d. Let r be the distance from
    t to its nearest neighbour in the training set. The image counts as near if d is less than r;
    such images are not authentic in the sense of Alaa et al. 2022 (arXiv 2102.08921). The image
    also counts as near if d is below 1e-4 times the mean norm of the training features, because r
    is 0 if the training set has a duplicate of t. By chance, some unseen images of the same
    distribution are also near, so compare the share of near images with that of a test set.
    ``made`` (M, D) and ``training`` (N, D) are features.
    """
    distance, row = nearest(made, training)
    rows, back = torch.unique(row[:, 0], return_inverse=True)
    own = nearest(training[rows], training, 2)[0][:, 1]
    none = 1e-4 * training.double().norm(dim=1).mean()
    return distance[:, 0] < own[back].clamp(min=none)
