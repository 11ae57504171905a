"""The input of a metric: features of images, and a reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mezzotint.metrics.features import Features
from mezzotint.metrics.figure import Figure
from mezzotint.metrics.interval import Interval
from mezzotint.metrics.networks import FeatureNetwork, figure_name
from mezzotint.metrics.reference import Reference


@dataclass(frozen=True, eq=False)
class Comparison:
    """The features of images, and the reference to compare them with.

    ``made`` holds float32 arrays for the N measured images: ``made.pool`` (N, D), ``made.spatial``
    (N, S) and ``made.probabilities`` (N, K). ``against.pool`` (M, D) is a tensor of the reference's
    features. ``labels`` (N,) are the classes that the images were made for, as indices into
    ``classes``, the names of all classes.
    """

    made: Features
    against: Reference
    labels: Sequence[int] | None = None
    classes: tuple[str, ...] = ()

    @property
    def network(self) -> FeatureNetwork:
        return self.made.network

    @property
    def count(self) -> int:
        """N, the number of images to measure."""
        return self.made.done

    @property
    def pool(self) -> Tensor:
        """The features (N, D) of the measured images, float32."""
        return torch.from_numpy(self.made.pool)

    @property
    def probabilities(self) -> Tensor:
        """The class probabilities (N, K) of the measured images, float32."""
        return torch.from_numpy(self.made.probabilities)

    def named(self, metric: str) -> str:
        """Return the name of a metric's figure, such as ``fd-cifar10``; see `figure_name`."""
        return figure_name(metric, self.network.name)

    def figure(
        self,
        name: str,
        value: float,
        bounds: Interval,
        note: str = "",
        *,
        count: int | None = None,
        compared: bool = True,
    ) -> Figure:
        """Make a figure that records the network, the images and the reference of this comparison.

        Args:
            name: The name of the figure; `named` makes a name that includes the network.
            value: The measured value.
            bounds: The low and high end of its 95 % interval.
            note: Anything else that a reader of the figure must know.
            count: The number of images from which the value is computed; None means all.
            compared: Whether the value depends on the reference.
        """
        origin, network = self.against.origin, self.network
        number = f"{origin.count:,} images of " if origin.count else ""
        to = number + origin.name if compared else ""
        n = self.count if count is None else count
        low, high = map(float, bounds)
        return Figure(name, float(value), low, high, n, network.name, network.resize, to, note)


def shuffled(n: int) -> Tensor:
    """Return a random permutation of the indices 0 to n - 1, with a fixed seed."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(0))
