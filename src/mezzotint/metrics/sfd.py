"""The Frechet distance of spatial features, which depend on positions in the image.

With the features of Inception it is the sFID of Nash et al. 2021 (arXiv 2103.03841).
"""

from __future__ import annotations

from collections.abc import Iterator

from mezzotint.metrics import interval
from mezzotint.metrics.comparison import Comparison
from mezzotint.metrics.figure import Figure


def sfd(seen: Comparison) -> Iterator[Figure]:
    """Yield the Frechet distance of spatial features, which are not averaged over the image."""
    distance = seen.against.spatial_distance
    value, _, deviation = interval.of_distance(seen.made.spatial, distance, seen.labels)
    yield seen.figure(seen.named("sfd"), value, interval.around(value, deviation))
