"""The labels of a request, checked against a model's classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mezzotint.errors import UserError, counted
from mezzotint.pipeline.labels import Labels, integers


def of_images(n: int, labels: Labels, classes: Sequence[str], first: int) -> list[int] | None:
    """Return the labels of n images, from number ``first`` on; None for a model without classes.

    ``labels`` are one for all, n of them, or None: all classes in turn. Raises UserError if their
    number is wrong, a name or number is not a class, or the model has no classes.
    """
    if labels is None:
        turn = range(first, first + n)
        return [i % len(classes) for i in turn] if classes else None
    given = _given(labels, classes).tolist()
    every: list[int] = given if isinstance(given, list) else [given] * n
    if len(every) != n:
        raise UserError(
            f"there are {len(every)} `labels` for {counted(n, 'image')}: give one for all, "
            "or one for each"
        )
    return every


def indices(labels: Labels, classes: Sequence[str]) -> Tensor | None:
    """Return labels (B,) as int64, or None for None; UserError for any that is not a class."""
    if labels is None:
        return None
    given = _given(labels, classes)
    if given.ndim != 1:
        raise UserError("`labels` is not a list: give one integer for each image")
    if bad := [i for i in given.tolist() if not 0 <= i < len(classes)]:
        raise UserError(f"there is no class {bad[0]}: choose labels from 0 to {len(classes) - 1}")
    return given.to(torch.int64)


def _given(labels: int | str | Sequence[int | str] | Tensor, classes: Sequence[str]) -> Tensor:
    if not classes:
        raise UserError("this model is unconditional: leave `labels` out")
    return integers(labels, classes)
