"""Labels as a caller may give them: numbers or names of classes."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from mezzotint.errors import UserError, nearest

Labels: TypeAlias = int | str | Sequence[int | str] | Tensor | None


def integers(
    labels: int | str | Sequence[int | str] | Tensor, classes: Sequence[str] = ()
) -> Tensor:
    """Return labels as a tensor, with each name replaced by its position in ``classes``.

    Raises UserError for a name that is not a class, and for anything but names and integers.
    """
    if isinstance(labels, str):
        numbers: Any = _place(labels, classes)
    elif isinstance(labels, Sequence):
        numbers = [_place(k, classes) if isinstance(k, str) else k for k in labels]
    else:
        numbers = labels
    try:
        given = torch.as_tensor(numbers)
    except (TypeError, ValueError, RuntimeError):
        raise UserError(f"`labels` is {labels!r}: give integers from 0") from None
    if given.is_floating_point() or given.dtype == torch.bool:
        raise UserError(f"`labels` are {given.dtype}: give integers from 0")
    return given


def _place(name: str, classes: Sequence[str]) -> int:
    folded = [unicodedata.normalize("NFC", each) for each in classes]  # an accent, apart or not
    if (wanted := unicodedata.normalize("NFC", name)) in folded:
        return folded.index(wanted)
    every = f": choose 0 to {len(classes) - 1}, or a name such as {classes[0]}"
    raise UserError(f"there is no class {name!r}{nearest(name, [*classes]) or every}")
