"""The base class of all kinds of conditions."""

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
"""The conditions of a batch by name; each is a tensor with a row for each image."""

Stem: TypeAlias = Callable[[int], nn.Module]
"""``stem(channels)`` makes a layer like a network's first layer, with ``channels`` channels."""

RESERVED = ".=,"  # separators on the command line and in the names of weights


class Condition(ABC):
    """Abstract base class of the conditions of a model, such as the class.

    The condition tensor of B images has B rows. Any row may be the null condition, which means "no
    condition"; classifier-free guidance needs it. An encoder turns the condition tensor into (B,
    emb), which is added to the network's condition vector. If the condition is ``spatial``, such as
    an image, the encoder is a `Layered`, whose output is added to the output of the network's first
    layer.
    """

    name: str
    kind: ClassVar[str]
    spatial: ClassVar[bool] = False

    @abstractmethod
    def null(self, count: int, device: torch.device | None = None) -> Tensor:
        """Return the condition tensor of ``count`` images, all with the null condition."""

    @abstractmethod
    def some(self, count: int) -> Tensor:
        """Return ``count`` rows of a valid condition that is not null, to test a network with."""

    @abstractmethod
    def encoder(self, emb: int, stem: Stem) -> nn.Module:
        """Make the encoder for a network whose condition vector has the width ``emb``.

        ``stem`` makes layers like the network's first layer, for spatial conditions.
        """

    @abstractmethod
    def encoded(self, rows: npt.NDArray[Any]) -> Tensor:
        """Convert conditions, in the form in which data sets store them, to a condition tensor."""

    @abstractmethod
    def given(self, value: Any, count: int | None) -> Tensor:
        """Convert a user's values for ``count`` images to the condition tensor.

        If ``count`` is None, any number of values is allowed. Raises UserError for impossible
        values, and if the number of values is neither 1 nor ``count``.
        """

    @abstractmethod
    def parsed(self, text: str) -> Any:
        """Parse an argument of the command line into values for `given`, or paths of images."""

    @abstractmethod
    def __str__(self) -> str:
        """Describe the condition in words."""

    @property
    def module(self) -> str:
        """The name under which a network stores the encoder."""
        return f"condition_{self.name}"

    def dropped(self, value: Tensor, which: Tensor) -> Tensor:
        """Return ``value`` with the null condition for the images where ``which`` (B,) is True."""
        shape = [-1, *[1] * (value.ndim - 1)]
        return torch.where(which.view(shape), self.null(1, value.device), value)

    def facts(self) -> dict[str, Any]:
        """Return the kind and the fields of the condition, which a checkpoint stores."""
        return {"kind": self.kind, **asdict(self)}  # type: ignore[call-overload]

    def check_name(self) -> None:
        """Raise ValueError for a name that cannot be used."""
        if not self.name or set(self.name) & set(RESERVED):
            raise ValueError(
                f"{self.name!r} cannot be the name of a condition: choose a name without "
                f"the characters {' '.join(RESERVED)}"
            )

    def rows(self, values: Tensor, count: int | None) -> Tensor:
        """Return ``values`` with ``count`` rows; a single row is repeated.

        Any number of rows is allowed if ``count`` is None. Raises UserError if the number of rows
        is neither 1 nor ``count``.
        """
        if count is None or len(values) == count:
            return values
        if len(values) != 1:
            raise UserError(
                f"there are {len(values)} values of {self.name!r} for {counted(count, 'image')}: "
                "give one value for all images, or one for each image"
            )
        return values.expand(count, *values.shape[1:])


class FromZero(nn.Module):
    """An encoder that returns zeros before training, so it leaves a network's output unchanged."""

    def initialise(self) -> None:
        """Set the weights of the last layer to zero."""
        raise NotImplementedError


class Layered(FromZero):
    """The encoder of a spatial condition: a layer like a network's first layer, without a bias."""

    layer: nn.Module

    def initialise(self) -> None:
        for weight in self.layer.parameters():
            nn.init.zeros_(weight)

    def aligned(self, value: Tensor, x: Tensor) -> Tensor:
        """Return the condition tensor (B, c, H, W) at the resolution of x."""
        raise NotImplementedError


def as_array(value: Any) -> npt.NDArray[Any]:
    """Convert a user's values to an array.

    For ragged values, sparse tensors and masked arrays, return ``np.asarray(None)``.
    """
    if isinstance(value, np.ma.MaskedArray):
        return np.asarray(None)
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = value.float() if value.dtype == torch.bfloat16 else value
    try:
        return np.asarray(value)
    except (TypeError, ValueError):  # a sparse tensor, or rows of different lengths
        return np.asarray(None)


def named(
    condition: Given | Tensor | None, conditions: Sequence[Condition], t: Tensor
) -> dict[str, Tensor]:
    """Return the tensors of all conditions of a network by name; missing conditions become null.

    Args:
        condition: The condition tensors by name, the tensor of the only condition, or None.
        conditions: The conditions of the network.
        t: The times (B,). They give the number of images and the device of null conditions.

    Raises:
        UserError: If the network does not have a given condition, or has several conditions and
            gets one tensor.
    """
    if not isinstance(condition, Tensor):
        given: Given = condition or {}
    elif not conditions:
        raise UserError(
            "this network is unconditional and takes no labels: pass None as the condition"
        )
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
    """Raise UserError if a name does not belong to any condition."""
    names = [each.name for each in conditions]
    if bad := [name for name in given if name not in names]:
        hint = nearest(str(bad[0]), names) or f": choose {', '.join(names)}"
        raise UserError(f"the model has no condition {bad[0]!r}{hint}")
