"""The request and the result that all evaluations share."""

from __future__ import annotations

import operator
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mezzotint.errors import UserError
from mezzotint.evaluation.against import Against
from mezzotint.evaluation.record import record
from mezzotint.evaluation.samples import Follow
from mezzotint.metrics import METRICS, FeatureNetwork, Figure, network
from mezzotint.metrics.measure import anything
from mezzotint.metrics.networks import choose
from mezzotint.storage.files import as_folder, writable

FIGURES = "figures.jsonl"


@dataclass(frozen=True)
class Request:
    """The options of a measurement, and the destination of its figures (metric values).

    ``networks`` are names of feature networks. If there are none, the reference's own network is
    used (`Against.network`). ``metrics`` are names of metrics; None means all. If a folder ``out``
    is given, the figures are appended to its figures.jsonl. If the reference is not a file of
    statistics, an image file in ``out`` shows some of the measured images. ``follow`` is called
    with the progress, and ``say`` with each group of figures that is measured.
    """

    networks: tuple[str, ...] = ()
    metrics: tuple[str, ...] | None = None
    out: Path | None = None
    follow: Follow = lambda what, done, total: None
    say: Callable[[Sequence[Figure]], None] = lambda figures: None

    @staticmethod
    def of(network: Any, metrics: Any, out: Any, on_progress: Follow | None) -> Request:
        """Make a request from a caller's arguments. Raises UserError for wrong types."""
        follow = on_progress or Request.follow
        chosen = None if metrics is None else _names("metrics", metrics)
        if not isinstance(out, str | os.PathLike | None):
            raise UserError(f"`out` is {out!r}: give the path of a folder")
        place = None if out is None else Path(os.path.expanduser(out))
        return Request(_names("network", network), chosen, place, follow)

    def load(
        self, classes: Sequence[str], device: torch.device, to: Against
    ) -> list[FeatureNetwork]:
        """Load the feature networks of the request, or else the default network of ``to``.

        ``to`` is the reference. Raises UserError if a name does not exist or weights are not
        available. Also raises it if accuracy is the only metric of the request, and a network does
        not know the ``classes``.
        """
        chosen = [*dict.fromkeys(self.networks)] or [to.network]
        anything(METRICS if self.metrics is None else self.metrics, chosen, classes)
        return [network(name, device) for name in chosen]

    def check(self, classes: Sequence[str], data: Any) -> None:
        """Check that the request can be fulfilled, before any work.

        ``data`` is the reference, whose name determines the default network. Raises UserError if
        there is no metric or network of a given name, ``out`` cannot be written, or accuracy is the
        only metric and one of the networks does not know the ``classes`` of the images.
        """
        metrics = METRICS if self.metrics is None else self.metrics
        named = isinstance(data, str) and not Path(data).suffix
        networks = self.networks or ((choose(data),) if named else ())
        anything(metrics, networks, classes)
        self.check_out()

    def check_out(self) -> None:
        """Raise UserError if figures cannot be written to ``out``."""
        if self.out:
            writable(as_folder(self.out) / FIGURES)

    def keep(self, figures: Sequence[Figure], facts: dict[str, Any]) -> None:
        """Pass measured figures to ``say``; append them and ``facts`` to figures.jsonl.

        Raises UserError if there are no figures.
        """
        if not figures:
            raise UserError("none of the metrics applies to these images: choose other `metrics`")
        self.say(figures)
        if self.out:
            record(self.out / FIGURES, figures, facts)


@dataclass(frozen=True)
class Found:
    """The measured figures of an evaluation, their reference, and a file that shows some images.

    Under torchrun only the first process has figures.
    """

    figures: Sequence[Figure] = ()
    against: Against | None = None
    drawn: Path | None = None


def by_name(figures: Sequence[Figure]) -> dict[str, Figure]:
    """Return measured figures as a dict from names to figures.

    If several networks gave a figure of the same name, such as ``precision``, the network's name
    is appended: ``precision-cifar10``.
    """
    often = Counter(figure.name for figure in figures)
    return {f.name if often[f.name] == 1 else f"{f.name}-{f.network}": f for f in figures}


def whole(name: str, value: Any, least: int) -> int:
    """Check that the argument ``name`` is a whole number of at least ``least``; return it as int.

    Raises UserError for any other value.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < least:
        raise UserError(f"`{name}` is {value!r}: give a whole number of at least {least}")
    return operator.index(value)


def _names(argument: str, value: Any) -> tuple[str, ...]:
    """Return the names that an argument gives: none, one or several."""
    names = () if value is None else (value,) if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise UserError(f"`{argument}` is {value!r}: give a name, or a list of names")
    return tuple(names)
