"""The Frechet distance of pooled features. With the features of Inception it is the FID."""

from __future__ import annotations

from collections.abc import Iterator

from mezzotint.metrics import interval
from mezzotint.metrics.comparison import Comparison
from mezzotint.metrics.figure import Figure


def fd(seen: Comparison) -> Iterator[Figure]:
    """Yield the Frechet distance and, for enough images, its limit for infinitely many images.

    The limit comes from `interval.of_distance`, which splits the images into halves and computes
    the covariance of each half. A covariance of D features needs many images, so the limit is left
    out if the measured images or the reference images are fewer than ``4 (D + 1)``. The limit
    contains the bias from the size of the reference. It is clamped at 0, because images that are
    also in the reference can make it negative.
    """
    made, distance = seen.made.pool, seen.against.distance
    value, limit, deviation = interval.of_distance(made, distance, seen.labels)
    name = seen.named("fd")
    yield seen.figure(name, value, interval.around(value, deviation))
    known = seen.against.origin.count or len(made)  # another tool's statistics have no count
    if min(len(made), known) >= 4 * (made.shape[1] + 1):
        limit = max(0.0, limit)
        note = "extrapolated to infinitely many images"
        yield seen.figure(f"{name}-inf", limit, interval.around(limit, deviation), note)
