"""The labels of a request, checked against a model's classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mezzotint.errors import UserError
from mezzotint.pipeline.labels import Labels, integers


def of_images(n: int, labels: Labels, classes: Sequence[str], first: int) -> list[int] | None:
    """The labels of n images, from number ``first`` on; None where there are no classes.

    ``labels`` are one for all, or n, or None: every class in turn. Raises UserError for labels of
    another length, for a name that there is none of, and for any without classes.
    """
    if labels is None:
        turn = range(first, first + n)
        return [i % len(classes) for i in turn] if classes else None
    given = _given(labels, classes).tolist()
    every: list[int] = given if isinstance(given, list) else [given] * n
    if len(every) != n:
        raise UserError(f"there are {len(every)} `labels` for {n} images: give one for all, or {n}")
    return every


def indices(labels: Labels, classes: Sequence[str]) -> Tensor | None:
    """Labels (B,) as int64; None is None. Raises UserError for what is none of the classes."""
    if labels is None:
        return None
    given = _given(labels, classes)
    if given.ndim != 1:
        raise UserError("`labels` must be a list, one integer for each image")
    if bad := [i for i in given.tolist() if not 0 <= i < len(classes)]:
        raise UserError(f"there is no class {bad[0]}: labels are 0 to {len(classes) - 1}")
    return given.to(torch.int64)


def _given(labels: int | str | Sequence[int | str] | Tensor, classes: Sequence[str]) -> Tensor:
    if not classes:
        raise UserError("this model is unconditional: leave `labels` out")
    return integers(labels, classes)
