"""What all kinds of conditions have in common: a name, a null, an encoder, a user's values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mezzotint.errors import UserError, counted, nearest

Given: TypeAlias = Mapping[str, Tensor]
"""The conditions of a batch by name, each a tensor with a row for each image."""

Stem: TypeAlias = Callable[[int], nn.Module]
"""``stem(channels) -> layer``: a layer like a network's first, for so many more channels."""

RESERVED = ".=,"  # they separate names on the command line and in the names of weights


class Condition(ABC):
    """A condition of a model: its name, and what is done with it; abstract, a file for each kind.

    The condition of B images is a tensor of B rows, in which some rows may be the null of the kind:
    no condition at all, as classifier-free guidance needs it. An encoder turns the tensor into what
    is added to the network's condition vector, (B, emb). The encoder of a ``spatial`` condition is
    a `Layered` instead, whose result is added to that of the network's first layer.
    """

    name: str
    kind: ClassVar[str]
    spatial: ClassVar[bool] = False

    @abstractmethod
    def null(self, count: int, device: torch.device | None = None) -> Tensor:
        """Return ``count`` rows of the null."""

    @abstractmethod
    def some(self, count: int) -> Tensor:
        """Return ``count`` rows that are not null, to try a network with."""

    @abstractmethod
    def encoder(self, emb: int, stem: Stem) -> nn.Module:
        """Make the encoder."""

    @abstractmethod
    def encoded(self, rows: npt.NDArray[Any]) -> Tensor:
        """Return rows of a prepared array as the tensor."""

    @abstractmethod
    def given(self, value: Any, count: int | None) -> Tensor:
        """Return what a user gives for ``count`` images as the tensor; None takes any number.

        Raises UserError for values that the condition cannot have, or another number of them.
        """

    @abstractmethod
    def parsed(self, text: str) -> Any:
        """Return what a word of the command line gives, as `given` takes it; images as paths."""

    @abstractmethod
    def __str__(self) -> str:
        """Describe the condition in words."""

    @property
    def module(self) -> str:
        """The name of its encoder in a network."""
        return f"condition_{self.name}"

    def dropped(self, value: Tensor, which: Tensor) -> Tensor:
        """Return the tensor with the null in the rows where ``which`` (B,) is True."""
        shape = [-1, *[1] * (value.ndim - 1)]
        return torch.where(which.view(shape), self.null(1, value.device), value)

    def facts(self) -> dict[str, Any]:
        """Return what a checkpoint says of the condition."""
        return {"kind": self.kind, **asdict(self)}  # type: ignore[call-overload]

    def check_name(self) -> None:
        """Raise ValueError for a name that cannot be used."""
        if not self.name or set(self.name) & set(RESERVED):
            raise ValueError(
                f"{self.name!r} cannot be the name of a condition: use one without "
                f"{' '.join(RESERVED)}"
            )

    def rows(self, values: Tensor, count: int | None) -> Tensor:
        """Return the rows of ``count`` images from one row for all, or one for each."""
        if count is None or len(values) == count:
            return values
        if len(values) != 1:
            raise UserError(
                f"there are {len(values)} values of {self.name!r} for {counted(count, 'image')}: "
                "give one for all, or one for each"
            )
        return values.expand(count, *values.shape[1:])


class FromZero(nn.Module):
    """An encoder that returns zeros at first: a network to which it is added stays as it was."""

    def initialise(self) -> None:
        """Zero the last layer."""
        raise NotImplementedError


class Layered(FromZero):
    """The encoder of a spatial condition: a layer like a network's first, without a bias."""

    layer: nn.Module

    def initialise(self) -> None:
        for weight in self.layer.parameters():
            nn.init.zeros_(weight)

    def aligned(self, value: Tensor, x: Tensor) -> Tensor:
        """Return the condition (B, c, H, W) in the resolution of x."""
        raise NotImplementedError


def as_array(value: Any) -> npt.NDArray[Any]:
    """Return numbers that a user gives as an array; of anything else it is an array of objects."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().float() if value.dtype == torch.bfloat16 else value.cpu()
    try:
        return np.asarray(value)
    except ValueError:  # rows of different lengths
        return np.asarray(None)


def named(
    condition: Given | Tensor | None, conditions: Sequence[Condition], t: Tensor
) -> dict[str, Tensor]:
    """Return each of a network's conditions by name, the null of those that are missing.

    Args:
        condition: The conditions by name; or the only one; or None.
        conditions: Those of the network.
        t: (B,), on the device of the result.

    Raises:
        UserError: For a condition that the network does not have.
    """
    if not isinstance(condition, Tensor):
        given: Given = condition or {}
    elif not conditions:
        raise UserError("this network is unconditional and takes no labels: pass None")
    elif len(conditions) == 1:
        given = {conditions[0].name: condition}
    else:
        names = ", ".join(repr(each.name) for each in conditions)
        raise UserError(f"the network has several conditions: pass a dict of {names}")
    check_names(given, conditions)
    return {
        each.name: given[each.name] if each.name in given else each.null(len(t), t.device)
        for each in conditions
    }


def check_names(given: Iterable[str], conditions: Sequence[Condition]) -> None:
    """Raise UserError for a name that none of the conditions has."""
    names = [each.name for each in conditions]
    if bad := [name for name in given if name not in names]:
        hint = nearest(str(bad[0]), names) or f": it has {', '.join(names)}"
        raise UserError(f"the model has no condition {bad[0]!r}{hint}")
