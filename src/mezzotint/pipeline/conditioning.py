"""The conditions of a request, checked against the conditions of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mezzotint.errors import UserError
from mezzotint.networks.conditions import Condition, Given, Labels, check_names

if TYPE_CHECKING:
    from mezzotint.pipeline.pipeline import Pipeline

LABEL = "label"  # the name of the class among the conditions


def of_images(
    pipe: Pipeline, n: int, labels: Labels, condition: Any, first: int
) -> dict[str, Tensor] | None:
    """Return the conditions of n images; None if no condition is given and there are no defaults.

    If some conditions are given, the others are null. If none is given, the defaults are the
    conditions of the training images in ``pipe.examples``, in turn. If there are no such images,
    the defaults are all classes, in turn. The turn begins at index ``first``. Raises UserError if a
    condition or a label does not exist, or does not suit the model.
    """
    given = by_name(pipe, labels, condition)
    if not given:
        return _in_turn(pipe, n, first)
    return {
        each.name: each.given(given[each.name], n) if each.name in given else each.null(n)
        for each in pipe.every
    }


def of_batch(pipe: Pipeline, labels: Labels, condition: Any) -> Given | None:
    """Return the conditions of each image of a batch; None if no condition is given.

    If some conditions are given, the others are null. Raises UserError if a condition or a label
    does not exist, or does not suit the model, or if the conditions are for different numbers of
    images.
    """
    given = by_name(pipe, labels, condition)
    if not given:
        return None
    found = {
        each.name: each.given(given[each.name], None) for each in pipe.every if each.name in given
    }
    counts = {len(value) for value in found.values()}
    if len(counts) > 1:
        raise UserError(
            f"the conditions are given for {' and '.join(map(str, sorted(counts)))} images: give "
            "all of them for the same number of images"
        )
    count = counts.pop()
    return {
        each.name: found[each.name] if each.name in found else each.null(count)
        for each in pipe.every
    }


def unlearned(objective: object, conditions: Sequence[Condition]) -> str:
    """Return a warning if a training always or never drops the conditions, else ""."""
    dropout = getattr(objective, "label_dropout", None)
    if not conditions or dropout not in (0, 1):
        return ""
    if dropout:
        return (
            "the training has `label_dropout=1`, so the model learns nothing about its conditions: "
            "sample with `guidance=0`, or train with a lower `label_dropout`"
        )
    return (
        "the training has `label_dropout=0`, so guidance and samples without a condition are "
        "meaningless: sample with a condition and `guidance=1`"
    )


def labels_of(pipe: Pipeline, given: Given | None) -> list[int] | None:
    """Return the labels in the conditions ``given``, with K for the null class.

    Return None for a model without classes, or if ``given`` is None.
    """
    if given is None or not pipe.classes:
        return None
    found: list[int] = given[LABEL].tolist()
    return found


def by_name(pipe: Pipeline, labels: Labels, condition: Any) -> dict[str, Any]:
    """Return {name of a condition: user's value}; the class has the name "label"."""
    if labels is not None and not pipe.classes:
        what = "has no classes" if pipe.conditions else "is unconditional"
        raise UserError(f"this model {what}: leave out `labels`")
    if condition is not None and not pipe.every:
        raise UserError("this model is unconditional: leave out `condition`")
    if condition is None:
        given: dict[str, Any] = {}
    elif isinstance(condition, Mapping):
        given = {name: value for name, value in condition.items() if value is not None}
    elif len(pipe.conditions) == 1:
        given = {pipe.conditions[0].name: condition}
    else:
        names = ", ".join(each.name for each in pipe.every)
        raise UserError(
            "`condition` is ambiguous, because the model has several conditions: give a dict with "
            f"keys from {names}"
        )
    check_names(given, pipe.every)
    if labels is not None:
        if LABEL in given:
            raise UserError("`labels` and `condition` both give the class: leave out one of them")
        given[LABEL] = labels
    return given


def _in_turn(pipe: Pipeline, n: int, first: int) -> dict[str, Tensor] | None:
    """Return default conditions for n images; None if there are none.

    They are the conditions of the training images in ``pipe.examples``, in turn. If there are no
    such images, they are all classes in turn, with all other conditions null.
    """
    rows = torch.arange(first, first + n)
    if pipe.examples:
        return {name: rows_of[rows % len(rows_of)] for name, rows_of in pipe.examples.items()}
    if not pipe.classes:
        return None
    return {
        each.name: rows % len(pipe.classes) if each.name == LABEL else each.null(n)
        for each in pipe.every
    }
