"""Read the conditions other than the class from words such as ``age=30``."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Sequence
from typing import Any

from mezzotint.errors import UserError
from mezzotint.evaluation.conditions import condition_of
from mezzotint.networks.conditions import ImageCondition
from mezzotint.pipeline.pipeline import Pipeline


def words(text: str) -> tuple[str, ...]:
    """Split the text of a field into words. Raises UserError for an unclosed quotation mark."""
    try:
        return tuple(shlex.split(text))
    except ValueError:
        raise UserError(f"`condition` is {text!r}: close the quotation mark") from None


def values(pipe: Pipeline, given: Sequence[str], each: bool = True) -> dict[str, Any] | None:
    """Convert words to the argument ``condition`` of `Pipeline.sample`; no words give None.

    Args:
        pipe: The model.
        given: Words of the form NAME=VALUE or NAME=VALUE,VALUE.
        each: Whether a condition may have a different value for each image.

    Raises:
        UserError: If a word is not a valid condition, gives an image (visitors of the page may not
            read files of this machine), or has several values although ``each`` is not set.
    """
    images = {it.name for it in pipe.conditions if isinstance(it, ImageCondition)}
    if refused := [word for word in given if word.split("=")[0] in images]:
        name = refused[0].split("=")[0]
        raise UserError(
            f"{name!r} is an image, but the page cannot read images as conditions: leave it out, "
            "or pass `condition` to `mezzotint sample`"
        )
    found = condition_of(given, pipe.conditions)
    for name, (_, rows) in found.items():
        if rows > 1 and not each:
            raise UserError(
                f"{name!r} has {rows} values, but an edit takes a single value: write {name}=VALUE"
            )
    return {name: value for name, (value, _) in found.items()} or None


def warned(pipe: Pipeline, given: Sequence[str]) -> list[str]:
    """Return the warnings about conditions, such as a number outside the training range."""
    found, named = values(pipe, given) or {}, {each.name: each for each in pipe.conditions}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for name, value in found.items():
            named[name].given(value, None)
    return [str(warning.message) for warning in caught]
