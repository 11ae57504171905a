"""Figures: a metric's value with all that it must not be quoted without."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from mezzotint.errors import UserError
from mezzotint.metrics import interval
from mezzotint.metrics.features import Features
from mezzotint.metrics.kernel import kernel_distance
from mezzotint.metrics.neighbours import copied, neighbourhood
from mezzotint.metrics.networks import figure_name
from mezzotint.metrics.reference import Reference
from mezzotint.metrics.scores import inception_score

METRICS = ("fd", "sfd", "cs", "kd", "prdc", "accuracy", "memorised")
SPLITS, SUBSETS, SUBSET, MOST = 10, 100, 1000, 10_000


@dataclass(frozen=True)
class Figure:
    """One figure, its 95 % interval, and what it was computed from."""

    name: str
    value: float
    low: float
    high: float
    samples: int
    network: str
    resize: str
    against: str  # the reference, in words; empty where none is needed
    note: str = ""

    def __str__(self) -> str:
        against = f" against {self.against}" if self.against else ""
        note = f"; {self.note}" if self.note else ""
        return (
            f"{self.name:<14} {self.value:>10.4f}  [{self.low:.4f}, {self.high:.4f}]  "
            f"{self.samples:,} pictures{against}; {self.network} network, {self.resize}{note}"
        )


def measure(
    made: Features,
    against: Reference,
    metrics: Sequence[str] = METRICS,
    labels: Sequence[int] | None = None,
) -> Iterator[Figure]:
    """The figures of made pictures against a reference, one after the other.

    ``metrics`` are names of METRICS: the Frechet distances of pooled and of spatial features (fd,
    with its limit for infinitely many pictures, and sfd), the classifier score (cs), the kernel
    distance (kd), precision, recall, density and coverage (prdc), the share recognised as the class
    asked for (accuracy: where ``labels`` (N,) are given and the network knows the classes) and the
    share nearer to a training picture than its own neighbour is (memorised). Raises UserError for
    a metric that there is none of, and for too few pictures.
    """
    if unknown := [name for name in metrics if name not in METRICS]:
        raise UserError(f"there is no metric {unknown[0]!r}: choose {', '.join(METRICS)}")
    n, network, origin = made.done, made.network, against.origin
    enough(n)
    to = f"{origin.count:,} of {origin.name}"

    def figure(
        name: str, value: float, bounds: interval.Interval, note: str = "", samples: int = n
    ) -> Figure:
        return Figure(name, value, *bounds, samples, network.name, network.resize, to, note)

    def named(metric: str) -> str:
        return figure_name(metric, network.name)

    pool = torch.from_numpy(made.pool)
    if "fd" in metrics:
        value, bounds, limit, limit_bounds = interval.of_distance(made.pool, against.distance)
        yield figure(named("fd"), value, bounds)
        if n >= 2 * (pool.shape[1] + 1):
            note = "extrapolated to infinitely many pictures"
            yield figure(named("fd") + "-inf", limit, limit_bounds, note)
    if "sfd" in metrics:
        value, bounds, _, _ = interval.of_distance(made.spatial, against.spatial_distance)
        yield figure(named("sfd"), value, bounds)
    if "cs" in metrics:
        p = torch.from_numpy(made.probabilities).double()
        value, spread = inception_score(p, SPLITS)
        note = f"standard deviation {spread:.4f} over {SPLITS} splits"
        bounds = interval.of_score(p, SPLITS)
        yield Figure(named("cs"), value, *bounds, n, network.name, network.resize, "", note)
    if "kd" in metrics:
        size = min(SUBSET, n, origin.count)
        value, spread = kernel_distance(pool, against.pool, SUBSETS, size)
        error = spread * (size / min(n, origin.count) + 1 / SUBSETS) ** 0.5
        note = f"standard deviation {spread:.4f} over {SUBSETS} subsets of {size}"
        yield figure(named("kd"), value, (value - 1.96 * error, value + 1.96 * error), note)
    if "prdc" in metrics:
        few = min(n, origin.count, MOST)
        some = torch.randperm(origin.count, generator=torch.Generator().manual_seed(0))[:few]
        for name, values in neighbourhood(against.pool[some], pool[:few]).items():
            note = "against as many, picked at random"
            yield figure(name, float(values.mean()), interval.of_mean(values), note, few)
    if "accuracy" in metrics and labels is not None and network.classes:
        asked = torch.as_tensor(labels)
        right = (torch.from_numpy(made.probabilities).argmax(1) == asked).double()
        bounds = interval.of_mean(right)
        name, resize = network.name, network.resize
        yield Figure("accuracy", float(right.mean()), *bounds, n, name, resize, "")
    if "memorised" in metrics:
        near = copied(pool, against.pool)[0].double()
        yield figure("memorised", float(near.mean()), interval.of_mean(near))


def enough(samples: int) -> None:
    """Raises UserError for so few pictures that nothing can be said of them."""
    if samples < SPLITS:
        raise UserError(f"{samples} pictures cannot be measured: give at least {SPLITS}")
