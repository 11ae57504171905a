"""Parse conditions that a person writes, such as ``age=30,40``."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from mezzotint.data.values import EIGHT_BIT
from mezzotint.errors import UserError
from mezzotint.evaluation.edited import read_images
from mezzotint.networks.conditions import Condition, ImageCondition, check_names


def condition_of(
    words: Sequence[str], conditions: Sequence[Condition]
) -> dict[str, tuple[Any, int]]:
    """Parse words of the form NAME=VALUE, such as ``age=30,40``.

    Returns {name of a condition: (its values, the number of images that these values describe)}.
    Raises UserError for a word without "=", for a name that is given twice, for a condition that
    the model does not have, and for values that do not suit the condition.
    """
    known = {each.name: each for each in conditions}
    found: dict[str, tuple[Any, int]] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise UserError(f"`condition` has {word!r}: write NAME=VALUE")
        if name in found:
            raise UserError(
                f"`condition` gives {name} twice: give all its values at once, {name}=VALUE,VALUE"
            )
        check_names([name], conditions)
        condition = known[name]
        value = condition.parsed(text)
        if isinstance(condition, ImageCondition):
            value = _images(condition, value)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sampling repeats the warning
            one = isinstance(value, int | str)
            found[name] = value, 1 if one else len(condition.given(value, None))
    return found


def _images(condition: ImageCondition, paths: Sequence[Path]) -> Tensor:
    """Read the image files of a condition."""
    channels, height, width = condition.shape
    values = replace(EIGHT_BIT, alpha=channels == 4)
    return read_images(paths, (height, width), channels=channels, values=values)
