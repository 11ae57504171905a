"""The registry of metrics, and a function that measures several of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TypeAlias

from mezzotint.errors import Registry, UserError, counted, warn
from mezzotint.metrics.accuracy import NEEDED, accuracy, inapplicable
from mezzotint.metrics.classes import places
from mezzotint.metrics.comparison import Comparison
from mezzotint.metrics.cs import cs
from mezzotint.metrics.fd import fd
from mezzotint.metrics.features import Features
from mezzotint.metrics.figure import Figure
from mezzotint.metrics.interval import LEAST
from mezzotint.metrics.kd import kd
from mezzotint.metrics.left_out import LeftOut
from mezzotint.metrics.memorised import memorised
from mezzotint.metrics.networks import KNOWN_CLASSES, NETWORKS
from mezzotint.metrics.prdc import prdc
from mezzotint.metrics.reference import Reference, fitting
from mezzotint.metrics.sfd import sfd

Metric: TypeAlias = Callable[[Comparison], Iterator[Figure]]
"""``metric(comparison)`` yields the figures of a comparison of images with a reference."""

METRICS: Registry[Metric] = Registry(
    "metric",
    {
        "fd": fd,
        "sfd": sfd,
        "cs": cs,
        "kd": kd,
        "prdc": prdc,
        "accuracy": accuracy,
        "memorised": memorised,
    },
)
"""The metrics by name: functions that yield the figures of a `Comparison`. You can add your own."""


def measure(
    made: Features,
    against: Reference,
    metrics: Sequence[str] | None = None,
    labels: Sequence[int] | None = None,
    classes: Sequence[str] = (),
) -> Iterator[Figure]:
    """Measure images against a reference; yield the figures (measured values) one by one.

    A metric that is impossible for the images or the reference, such as precision for three images,
    is left out with a warning. If accuracy does not apply, it is left out too. Then there is a
    warning only if the caller chose some metrics, among them accuracy.

    Args:
        made: The features of the images.
        against: The reference, in features of the same network.
        metrics: Names in METRICS; None takes all of them.
        labels: The classes (N,) that the images were made for, if known.
        classes: The names of the classes.

    Raises:
        UserError: If a metric does not exist, the reference belongs to another network, the number
            of labels is wrong, or none of the metrics can be measured on so few images.
    """
    chosen = [*METRICS] if metrics is None else metrics
    check_metrics(chosen)
    n = made.done
    fitting(against, made.network)
    if labels is not None and len(labels) != n:
        raise UserError(
            f"there are {counted(len(labels), 'label')} for {counted(n, 'image')}: give one label "
            "for each image"
        )
    seen, left_out = Comparison(made, against, labels, tuple(classes)), []
    for name, metric in METRICS.items():
        if name in chosen:
            try:
                yield from metric(seen)
            except LeftOut as why:
                left_out.append(name)
                warn(f"{name} is left out: {why}")
    if "accuracy" in chosen and {*chosen} < {*METRICS} and (reason := inapplicable(seen)):
        warn(f"accuracy is left out: {reason}")
    if len(left_out) == len({*chosen}):
        enough(n)


def check_metrics(names: Collection[str]) -> None:
    """Raise UserError unless there is at least one metric, and all of them exist."""
    if not names:
        raise UserError(f"`metrics` is empty: choose from {', '.join(METRICS)}")
    for name in names:
        METRICS.check(name)


def enough(count: int) -> None:
    """Raise UserError if there are fewer than `LEAST` images, too few for a distance."""
    if count < LEAST:
        raise UserError(f"{counted(count, 'image')} cannot be measured: give at least {LEAST}")


def anything(metrics: Collection[str], networks: Sequence[str], classes: Sequence[str]) -> None:
    """Raise UserError unless metrics and networks exist, and each network can give a metric.

    ``metrics`` must not be empty. A network gives no metric in one case: ``metrics`` is accuracy
    alone, and the network does not know the ``classes`` (or there are none).
    """
    check_metrics(metrics)
    for name in networks:
        NETWORKS.check(name)
        known = KNOWN_CLASSES.get(name, classes)
        if {*metrics} == {"accuracy"} and places(known, classes) is None:
            raise UserError(f"accuracy {NEEDED}: choose another metric, such as fd")
