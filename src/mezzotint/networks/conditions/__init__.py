"""The kinds of conditions of a model, each in a file of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mezzotint.errors import UserError
from mezzotint.networks.conditions.classes import ClassCondition, Labels
from mezzotint.networks.conditions.condition import (
    Condition,
    FromZero,
    Given,
    Layered,
    Stem,
    check_names,
    named,
)
from mezzotint.networks.conditions.image import ImageCondition
from mezzotint.networks.conditions.numbers import NumbersCondition
from mezzotint.networks.conditions.tags import TagsCondition

__all__ = [
    "ClassCondition",
    "Condition",
    "FromZero",
    "Given",
    "ImageCondition",
    "Labels",
    "Layered",
    "NumbersCondition",
    "Stem",
    "TagsCondition",
    "check_names",
    "every",
    "named",
    "read",
]

KINDS: dict[str, type[Any]] = {
    each.kind: each for each in (ClassCondition, TagsCondition, NumbersCondition, ImageCondition)
}


def every(classes: int | Sequence[str], others: Sequence[Condition] = ()) -> tuple[Condition, ...]:
    """Return all conditions of a model: the class, if there are classes, and ``others``.

    Args:
        classes: The names of the classes, or their number.
        others: The conditions besides the class.

    Raises:
        UserError: If two conditions have the same name.
    """
    names = tuple(map(str, range(classes))) if isinstance(classes, int) else tuple(classes)
    found = (ClassCondition(names), *others) if names else (*others,)
    called = [each.name for each in found]
    if twice := [name for name in called if called.count(name) > 1]:
        own = ", which is the name of the class condition" if twice[0] == "label" else ""
        raise UserError(f"two conditions have the name {twice[0]!r}{own}: rename one")
    return found


def read(facts: Sequence[Mapping[str, Any]]) -> tuple[Condition, ...]:
    """Build conditions from the results of `Condition.facts` that a checkpoint stores."""
    return tuple(
        KINDS[each["kind"]](**{k: _tuple(v) for k, v in each.items() if k != "kind"})
        for each in facts
    )


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
