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
from mezzotint.metrics.networks import CLASSES, figure_name
from mezzotint.metrics.reference import Reference, fitting
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
        eyes = f"; {self.network} network, {self.resize}" if self.network else ""
        note = f"; {self.note}" if self.note else ""
        return (
            f"{self.name:<14} {self.value:>10.4f}  [{self.low:.4f}, {self.high:.4f}]  "
            f"{self.samples:,} pictures{against}{eyes}{note}"
        )


def measure(
    made: Features,
    against: Reference,
    metrics: Sequence[str] = METRICS,
    labels: Sequence[int] | None = None,
    classes: Sequence[str] = (),
) -> Iterator[Figure]:
    """The figures of made pictures against a reference, one after the other.

    ``metrics`` are names of METRICS: the Frechet distances of pooled and of spatial features (fd,
    with its limit for infinitely many pictures, and sfd), the classifier score (cs), the kernel
    distance (kd), precision, recall, density and coverage (prdc), the share recognised as the class
    asked for (accuracy: where ``labels`` (N,) of ``classes`` are given, and they are the network's
    own) and the share nearer to a training picture than its own neighbour is (memorised).

    Raises UserError for a metric that there is none of, a reference of another network, labels that
    are not one a picture, and too few pictures.
    """
    if unknown := [name for name in metrics if name not in METRICS]:
        raise UserError(f"there is no metric {unknown[0]!r}: choose {', '.join(METRICS)}")
    n, network, origin = made.done, made.network, against.origin
    enough(n)
    fitting(against, network)
    if labels is not None and len(labels) != n:
        raise UserError(f"{len(labels)} labels for {n} pictures: give one each")
    to = f"{origin.count:,} of {origin.name}"

    def figure(
        name: str, value: float, bounds: interval.Interval, note: str = "", samples: int = n
    ) -> Figure:
        return Figure(name, value, *bounds, samples, network.name, network.resize, to, note)

    def named(metric: str) -> str:
        return figure_name(metric, network.name)

    pool = torch.from_numpy(made.pool)
    if "fd" in metrics:
        value, limit, deviation = interval.of_distance(made.pool, against.distance, labels)
        yield figure(named("fd"), value, interval.around(value, deviation))
        if n >= 4 * (pool.shape[1] + 1):  # half of them still make a good covariance
            note = "extrapolated to infinitely many pictures"
            yield figure(named("fd") + "-inf", limit, interval.around(limit, deviation), note)
    if "sfd" in metrics:
        value, _, deviation = interval.of_distance(made.spatial, against.spatial_distance, labels)
        yield figure(named("sfd"), value, interval.around(value, deviation))
    if "cs" in metrics:
        # A folder's pictures may come class by class: each split is to be of all of them.
        p = torch.from_numpy(made.probabilities)[_shuffled(n)].double()
        value, spread = inception_score(p, SPLITS)
        note = f"standard deviation {spread:.4f} over {SPLITS} splits"
        bounds = interval.of_score(p, SPLITS)
        yield Figure(named("cs"), value, *bounds, n, network.name, network.resize, "", note)
    if "kd" in metrics:
        # Subsets vary less than fresh samples would, the more so the more they are of the sets: of
        # two whole sets not at all. The third bound keeps them from it.
        size = min(SUBSET, n, origin.count, (n + origin.count) // 3)
        value, spread = kernel_distance(pool, against.pool, SUBSETS, size)
        share = size / n
        error = spread * (share / (2 - share - size / origin.count) + 1 / SUBSETS) ** 0.5
        note = f"standard deviation {spread:.4f} over {SUBSETS} subsets of {size}"
        yield figure(named("kd"), value, interval.around(value, error), note)
    if "prdc" in metrics:
        few = min(n, origin.count, MOST)
        real, some = against.pool[_shuffled(origin.count)[:few]], pool[_shuffled(n)[:few]]
        for name, values in neighbourhood(real, some).items():
            note = "of as many each, picked at random"
            bounds = (interval.of_mean if name == "density" else interval.of_share)(values)
            yield figure(name, float(values.mean()), bounds, note, few)
    if "accuracy" in metrics and labels is not None and tuple(classes) == network.classes:
        right = torch.from_numpy(made.probabilities).argmax(1) == torch.as_tensor(labels)
        bounds = interval.of_share(right)
        value, resize = float(right.double().mean()), network.resize
        yield Figure("accuracy", value, *bounds, n, network.name, resize, "")
    if "memorised" in metrics:
        near = copied(pool, against.pool)
        note = "never seen ones are by chance: compare with a test set's"
        yield figure("memorised", float(near.double().mean()), interval.of_share(near), note)


def _shuffled(n: int) -> torch.Tensor:
    return torch.randperm(n, generator=torch.Generator().manual_seed(0))


def enough(samples: int) -> None:
    """Raises UserError for so few pictures that nothing can be said of them."""
    if samples < SPLITS:
        raise UserError(f"{samples} pictures cannot be measured: give at least {SPLITS}")


def anything(metrics: Sequence[str], networks: Sequence[str], classes: Sequence[str]) -> None:
    """Raises UserError where a network could measure nothing of pictures of these classes."""
    if not metrics:
        raise UserError(f"nothing would be measured: choose metrics of {', '.join(METRICS)}")
    if {*metrics} == {"accuracy"} and any(CLASSES.get(name) != tuple(classes) for name in networks):
        raise UserError(
            "accuracy takes a network of the model's own classes, or the pictures': choose fd"
        )
