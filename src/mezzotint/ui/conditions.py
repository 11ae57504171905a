"""The conditions beside the class: words such as ``age=30``, as the command line takes them."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Sequence
from typing import Any

from mezzotint.errors import UserError
from mezzotint.evaluation.worded import condition_of
from mezzotint.networks.conditions import ImageCondition
from mezzotint.pipeline.pipeline import Pipeline


def words(text: str) -> tuple[str, ...]:
    """Return the words of a field of the page; UserError for a quotation mark without its end."""
    try:
        return tuple(shlex.split(text))
    except ValueError:
        raise UserError(f"`condition` is {text!r}: close the quotation mark") from None


def values(pipe: Pipeline, given: Sequence[str], each: bool = True) -> dict[str, Any] | None:
    """Return what words give, as `Pipeline.sample` takes it; None for no words.

    Args:
        pipe: The model.
        given: Words of the form NAME=VALUE or NAME=VALUE,VALUE.
        each: Whether a condition may have a value for each image.

    Raises:
        UserError: For words that the command line refuses too; for the path of an image, because a
            visitor of the page may not read the files of this machine; and for several values
            without ``each``.
    """
    images = {it.name for it in pipe.conditions if isinstance(it, ImageCondition)}
    if refused := [word for word in given if word.split("=")[0] in images]:
        name = refused[0].split("=")[0]
        raise UserError(
            f"{name!r} is an image, which the page does not read: leave it out here, or pass "
            "`condition` to `mezzotint sample`"
        )
    found = condition_of(given, pipe.conditions)
    for name, (_, rows) in found.items():
        if rows > 1 and not each:
            raise UserError(
                f"{name!r} has {rows} values, and an edit takes one: write {name}=VALUE"
            )
    return {name: value for name, (value, _) in found.items()} or None


def warned(pipe: Pipeline, given: Sequence[str]) -> list[str]:
    """Return what sampling warns of, such as a number that the model was not trained on."""
    found, named = values(pipe, given) or {}, {each.name: each for each in pipe.conditions}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for name, value in found.items():
            named[name].given(value, None)
    return [str(warning.message) for warning in caught]
