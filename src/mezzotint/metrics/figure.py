"""A figure: the measured value of a metric, its interval, and how it was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, SupportsFloat

from torch import Tensor

from mezzotint.errors import counted
from mezzotint.metrics import interval


@dataclass(frozen=True)
class Figure:
    """A measured value, its 95 % interval, and how it was measured.

    ``float(figure)`` is the value, ``f"{figure:.2f}"`` formats it, and operators such as ``<``
    compare it with numbers and with other figures. ``print(figure)`` shows everything in one line.

    Attributes:
        name: The name of the metric: ``fid``, ``fd-cifar10``, ``precision`` ...
        value: The measured value.
        low: The lower end of its 95 % interval.
        high: The upper end of the interval.
        count: The number of images measured.
        network: The feature network; empty if none was used.
        resize: How images were resized for the network, in words.
        against: The reference, in words; empty without a reference.
        note: Anything else that a reader of the value must know.
    """

    name: str
    value: float
    low: float
    high: float
    count: int
    network: str = ""
    resize: str = ""
    against: str = ""
    note: str = ""

    def __str__(self) -> str:
        against = f" against {self.against}" if self.against else ""
        how = f"; features of the {self.network} network; resize: {self.resize}"
        seen = how if self.network else ""
        note = f"; {self.note}" if self.note else ""
        return (
            f"{self.name:<14} {self.value:>10.4f}  [{self.low:.4f}, {self.high:.4f}]  "
            f"{counted(self.count, 'image')}{against}{seen}{note}"
        )

    def __float__(self) -> float:
        return self.value

    def __format__(self, spec: str) -> str:
        return format(self.value, spec) if spec else str(self)

    def __lt__(self, other: SupportsFloat) -> bool:
        return self.value < float(other)

    def __le__(self, other: SupportsFloat) -> bool:
        return self.value <= float(other)

    def __gt__(self, other: SupportsFloat) -> bool:
        return self.value > float(other)

    def __ge__(self, other: SupportsFloat) -> bool:
        return self.value >= float(other)

    @property
    def row(self) -> dict[str, Any]:
        """The figure as a dictionary to store; the key "samples" holds ``count``."""
        return {("samples" if name == "count" else name): v for name, v in asdict(self).items()}

    @staticmethod
    def read(row: Mapping[str, Any]) -> Figure:
        """Convert a dictionary from the property `row` back to a figure.

        The key "count" may replace "samples". Raises KeyError if both are missing, and TypeError
        if ``row`` is not a mapping, another required key is missing, a key is unknown, or a value
        has a wrong type.
        """
        if not isinstance(row, Mapping):
            raise TypeError(f"{row!r} is not a figure")
        fields = dict(row)
        count = fields.pop("samples" if "samples" in fields else "count")
        figure = Figure(count=count, **fields)
        numbers = figure.value, figure.low, figure.high, figure.count
        texts = figure.name, figure.network, figure.resize, figure.against, figure.note
        if not all(type(number) in (int, float) for number in numbers) or type(count) is not int:
            raise TypeError(f"{row!r} is not a figure")
        if not all(isinstance(text, str) for text in texts):
            raise TypeError(f"{row!r} is not a figure")
        return figure


def mean_figure(name: str, values: Tensor, note: str = "") -> Figure:
    """Return the mean of one value per image (N,), with its bootstrapped 95 % interval."""
    bounds = interval.of_mean(values)
    return Figure(name, float(values.double().mean()), *bounds, len(values), note=note)
