"""The share of images that are recognised as the class they were made for."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from mezzotint.metrics import interval
from mezzotint.metrics.comparison import Comparison
from mezzotint.metrics.figure import Figure


def accuracy(seen: Comparison) -> Iterator[Figure]:
    """Yield the share, where the labels are known and their classes are the network's own."""
    if seen.labels is None or seen.classes != seen.network.classes:
        return
    right = seen.probabilities.argmax(1) == torch.as_tensor(seen.labels)
    share = float(right.double().mean())
    yield seen.figure("accuracy", share, interval.of_share(right), compared=False)
