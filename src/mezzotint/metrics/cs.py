"""The classifier score. With the probabilities of Inception it is the Inception Score."""

from __future__ import annotations

from collections.abc import Iterator

from mezzotint.metrics import interval
from mezzotint.metrics.comparison import Comparison, shuffled
from mezzotint.metrics.figure import Figure
from mezzotint.metrics.scores import inception_score

SPLITS = interval.LEAST


def cs(seen: Comparison) -> Iterator[Figure]:
    """Yield `inception_score` of the network's probabilities, over 10 splits.

    The images are shuffled, because a folder may be ordered by class and each split should contain
    all classes.
    """
    interval.check_count(seen.count)
    p = seen.probabilities[shuffled(seen.count)].double()
    value, spread = inception_score(p, SPLITS)
    note = f"standard deviation {spread:.4f} over {SPLITS} splits"
    bounds = interval.of_score(p, SPLITS)
    yield seen.figure(seen.named("cs"), value, bounds, note, compared=False)
