"""How configurations are validated, and what is said of one that is wrong."""

from __future__ import annotations

from pydantic import ConfigDict, ValidationError

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
KINDS = {"diffusion", "autoencoder", "unet", "dit"}  # which pydantic puts into a field's name


def first_problem(error: ValidationError) -> str:
    """The first complaint of a validation as one line."""
    first = error.errors()[0]
    if first["type"] == "value_error":  # ours, from a __post_init__
        return first["msg"].removeprefix("Value error, ")
    field = ".".join(str(part) for part in first["loc"] if part not in KINDS)
    message, told = first["msg"], first["type"]
    given = "" if told == "missing" or told.startswith("union") else f", not {first['input']!r}"
    return f"{field or 'kind'}: {message[0].lower()}{message[1:]}{given}"
