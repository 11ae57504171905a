"""A condition that is a vector of numbers, which describe an image."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.errors import UserError, first_of, warn
from mezzotint.networks.blocks import zeroed
from mezzotint.networks.conditions.condition import Condition, FromZero, Stem, as_array
from mezzotint.strict import strict


@strict
class NumbersCondition(Condition):
    """D numbers for each image, standardised to ``(value - mean) / std``: float (B, D + 1).

    The last column is a flag: 1 for given numbers, or 0 for the null condition, whose numbers are
    0. The encoder is a network of two layers. Its last layer begins at zero, so adding the
    condition does not change the output of a trained network at first.
    """

    name: str
    mean: tuple[float, ...]
    """The mean of each number over the data."""
    std: tuple[float, ...]
    """The standard deviation of each number."""
    low: tuple[float, ...]
    """The least value of each number in the data. Sampling warns about lower values."""
    high: tuple[float, ...]
    """The greatest value of each number in the data. Sampling warns about higher values."""
    kind: ClassVar[str] = "numbers"

    def __post_init__(self) -> None:
        self.check_name()
        if len({len(self.mean), len(self.std), len(self.low), len(self.high), 0}) != 2:
            raise ValueError(
                f"mean, std, low and high of {self.name!r} differ in length: give each of them "
                "one number for each column"
            )
        same = any(low == high for low, high in zip(self.low, self.high, strict=True))
        if same or min(self.std) <= 0:  # rounding may make the std of equal numbers positive
            raise ValueError(
                f"{self.name!r} is the same for all images, so nothing can be learned from it: "
                "leave out this condition"
            )

    @staticmethod
    def of(name: str, values: npt.NDArray[Any]) -> NumbersCondition:
        """Make the condition for a data set from its values (N, D).

        Raises UserError if a column does not vary.
        """
        found = (values.mean(0), values.std(0), values.min(0), values.max(0))
        return NumbersCondition(name, *(tuple(map(float, each)) for each in found))

    def null(self, count: int, device: torch.device | None = None) -> Tensor:
        return torch.zeros(count, len(self.mean) + 1, device=device)

    def some(self, count: int) -> Tensor:
        return torch.cat([torch.zeros(count, len(self.mean)), torch.ones(count, 1)], 1)

    def encoder(self, emb: int, stem: Stem) -> nn.Module:
        return Mlp(len(self.mean) + 1, emb)

    def encoded(self, rows: npt.NDArray[Any]) -> Tensor:
        scaled = (rows - np.array(self.mean)) / np.array(self.std)
        return torch.cat([torch.from_numpy(scaled).float(), torch.ones(len(rows), 1)], 1)

    def given(self, value: Any, count: int | None) -> Tensor:
        size = len(self.mean)
        found = as_array(value)
        wanted = "a number" if size == 1 else f"{size} numbers"
        if found.dtype.kind not in "iuf":
            raise UserError(f"{self.name!r} is {value!r:.60}: give {wanted} for each image")
        if found.ndim < 2:
            found = found.reshape(-1, size) if size == 1 or found.size == size else found
        if found.ndim != 2 or found.shape[1] != size:
            raise UserError(
                f"{self.name!r} has the shape {found.shape}: give {wanted} once for all images, or "
                "once for each image"
            )
        if not np.isfinite(found).all():
            raise UserError(f"{self.name!r} has values that are not finite: give finite numbers")
        outside = (found < np.array(self.low)) | (found > np.array(self.high))
        if outside.any():
            row, column = np.argwhere(outside)[0]
            warn(
                f"{self.name!r} is {found[row, column]:g}, but the model was trained on "
                f"{self.low[column]:g} to {self.high[column]:g}: give a value in this range, or "
                "expect worse images"
            )
        return self.rows(self.encoded(found.astype(np.float64)), count)

    def parsed(self, text: str) -> Any:
        try:
            found = [float(word) for word in text.split(",")]
        except ValueError:
            raise UserError(
                f"{self.name}={text} is not a number: write {self.name}=1, or several numbers, "
                f"such as {self.name}=1,2"
            ) from None
        return found

    def __str__(self) -> str:
        spans = [f"{low:g} to {high:g}" for low, high in zip(self.low, self.high, strict=True)]
        return f"{self.name}, {first_of(spans, 3)}"


class Mlp(FromZero):
    """The encoder of numbers: two linear layers, of which the last begins at zero."""

    def __init__(self, numbers: int, emb: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(numbers, emb), nn.Linear(emb, emb)
        self.initialise()

    def initialise(self) -> None:
        zeroed(self.last)

    def forward(self, numbers: Tensor) -> Tensor:
        out: Tensor = self.last(F.silu(self.first(numbers.to(self.first.weight.dtype))))
        return out
