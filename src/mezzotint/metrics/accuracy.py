"""Accuracy: the share of images that a network assigns to the class they were made for."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from mezzotint.metrics import interval
from mezzotint.metrics.classes import places
from mezzotint.metrics.comparison import Comparison
from mezzotint.metrics.figure import Figure

NEEDED = "needs a network that knows the classes of the images"


def inapplicable(seen: Comparison) -> str:
    """Return the reason why accuracy does not apply to a comparison; "" if accuracy applies."""
    if seen.labels is None:
        return "the images have no labels"
    return f"it {NEEDED}" if places(seen.network.classes, seen.classes) is None else ""


def accuracy(seen: Comparison) -> Iterator[Figure]:
    """Yield the share of images that the network assigns to the class they were made for.

    The network assigns an image to the most probable of the data's classes. Classes that only the
    network has are ignored. Nothing is yielded if the images have no labels, or if the network does
    not distinguish their classes.
    """
    known = places(seen.network.classes, seen.classes)
    if seen.labels is None or known is None:
        return
    right = seen.probabilities[:, known].argmax(1) == torch.as_tensor(seen.labels)
    share = float(right.double().mean())
    yield seen.figure("accuracy", share, interval.of_share(right), compared=False)
