"""How configurations are validated, and what is said of one that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import ConfigDict, ValidationError

from mezzotint.errors import UserError

T = TypeVar("T")
STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
KINDS = {
    "diffusion",
    "autoencoder",
    "unet",
    "dit",
    "custom",
}  # in a field's place


def validated(kind: type[T], **fields: Any) -> T:
    """An instance of a validated dataclass; UserError that names the field which is wrong."""
    try:
        return kind(**fields)
    except ValidationError as error:
        raise UserError(first_problem(error)) from None


def first_problem(error: ValidationError, place: Callable[[list[str]], str] = ".".join) -> str:
    """The first complaint of a validation as one line, ``place`` naming the field of its parts."""
    first = error.errors()[0]
    if first["type"] == "value_error":  # ours, from a __post_init__
        return first["msg"].removeprefix("Value error, ")
    field = place([str(part) for part in first["loc"] if part not in KINDS] or ["kind"])
    message, told = first["msg"], first["type"]
    given = "" if told == "missing" or told.startswith("union") else f", not {first['input']!r}"
    return f"{field}: {message[0].lower()}{message[1:]}{given}"
