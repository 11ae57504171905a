"""The fields of a configuration, by name. The flags of the command line have the same names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import ValidationError

from mezzotint.config.experiment import Configuration
from mezzotint.config.file import from_json, to_json
from mezzotint.errors import UserError, nearest
from mezzotint.networks.record import CustomConfig
from mezzotint.storage.files import is_utf8
from mezzotint.strict import first_problem

HIDDEN = {"recipe", "kind"}  # these identify a configuration, and cannot be set
T = TypeVar("T", bound=Configuration)


def places(configuration: Any, above: tuple[str, ...] = ()) -> dict[str, tuple[str, ...]]:
    """Return the path of each field of a configuration: ``{"batch": ("train", "batch"), ...}``."""
    found: dict[str, tuple[str, ...]] = {}
    for field in fields(configuration):
        value, here = getattr(configuration, field.name), (*above, field.name)
        if isinstance(value, CustomConfig):
            continue  # it records the user's own network and has no settings
        if is_dataclass(value):
            found |= places(value, here)
        elif field.name not in HIDDEN:
            found[field.name] = here
    return found


def values(configuration: Any) -> dict[str, Any]:
    """Return the value of each field of a configuration: ``{"batch": 128, ...}``."""
    found = {}
    for name, (*sections, leaf) in places(configuration).items():
        section = configuration
        for each in sections:
            section = getattr(section, each)
        found[name] = getattr(section, leaf)
    return found


def changed(configuration: T, new: Mapping[str, Any]) -> T:
    """Return a configuration with some of its fields changed.

    Args:
        configuration: A recipe, or any other configuration.
        new: The new values, by field: ``{"batch": 32, "schedule": "cosine"}``.

    Raises:
        UserError: If there is no such field (similar names are suggested), or a value has a wrong
            type, is out of range, or does not fit the other values.
    """
    where = places(configuration)
    if bad := [name for name in new if name not in where]:
        hint = nearest(bad[0], where) or f": choose one of {', '.join(where)}"
        raise UserError(f"unknown argument `{bad[0]}`{hint}")
    content = to_json(configuration)
    del content["version"]
    for name, value in new.items():
        *sections, leaf = where[name]
        section = content
        for each in sections:
            section = section[each]
        section[leaf] = _plain(name, value)

    def place(parts: list[str]) -> str:
        return f"`{next((part for part in reversed(parts) if part in where), parts[-1])}`"

    try:
        made: T = from_json(content)  # type: ignore[assignment]
    except ValidationError as error:
        raise UserError(first_problem(error, place)) from None
    return made


def _plain(name: str, value: Any) -> Any:
    """Convert a value for JSON. Raises UserError if JSON has no such type."""
    if isinstance(value, PathLike):
        value = fspath(value)
    if isinstance(value, str) and not is_utf8(Path(value)):
        raise UserError(f"`{name}` is {value!r}, which is not UTF-8: choose another name")
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return [_plain(name, each) for each in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise UserError(f"`{name}` is a {type(value).__name__}: give a number, a string or a tuple")
