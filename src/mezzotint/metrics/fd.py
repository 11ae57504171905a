"""The Frechet distance of pooled features: in Inception's, the FID."""

from __future__ import annotations

from collections.abc import Iterator

from mezzotint.metrics import interval
from mezzotint.metrics.comparison import Comparison
from mezzotint.metrics.figure import Figure


def fd(seen: Comparison) -> Iterator[Figure]:
    """Yield the Frechet distance, and its limit for infinitely many images where N allows one.

    The limit is `interval.of_distance`'s. It needs a good covariance of half the images, so it
    comes from ``N >= 4 (D + 1)`` on, and with as many in the reference, whose own bias it keeps. A
    squared distance is not negative, and neither is the limit: the halves of images that are in the
    reference too, as of a set against itself, would lead below 0.
    """
    made, distance = seen.made.pool, seen.against.distance
    value, limit, deviation = interval.of_distance(made, distance, seen.labels)
    name = seen.named("fd")
    yield seen.figure(name, value, interval.around(value, deviation))
    known = seen.against.origin.count or len(made)  # of another tool's statistics it is not known
    if min(len(made), known) >= 4 * (made.shape[1] + 1):
        limit = max(0.0, limit)
        note = "extrapolated to infinitely many images"
        yield seen.figure(f"{name}-inf", limit, interval.around(limit, deviation), note)
