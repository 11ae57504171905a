"""Configuration classes: frozen dataclasses whose values are checked on construction."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Literal, TypeVar, dataclass_transform

from pydantic import ConfigDict, Field, GetCoreSchemaHandler, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import CoreSchema, core_schema
from tyro.constructors import PrimitiveConstructorSpec

from mezzotint.errors import Registry, UserError, nearest

T = TypeVar("T")
KINDS = {
    "diffusion",
    "autoencoder",
    "unet",
    "dit",
    "unet2d",
    "custom",
    "denoising",
    "distillation",
}
"""The parts that pydantic adds to the location of a field for the members of a union."""


@dataclass_transform(frozen_default=True, field_specifiers=(Field,))
def strict(cls: type[T]) -> type[T]:
    """Make a class a frozen dataclass whose values pydantic checks.

    Unknown fields, values of a wrong type or out of range, and numbers that are not finite raise a
    UserError that names the field. A ValueError in ``__post_init__`` also becomes a UserError.
    """
    checked = dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))(cls)
    init = checked.__init__

    @wraps(init)
    def __init__(self: T, *values: Any, **fields: Any) -> None:
        for name in fields:
            if name not in checked.__dataclass_fields__:
                names = checked.__dataclass_fields__
                hint = nearest(name, names) or f": choose one of {', '.join(names)}"
                raise UserError(f"{cls.__name__} has no field {name!r}{hint}")
        try:
            init(self, *values, **fields)
        except ValidationError as error:
            raise UserError(first_problem(error)) from None

    checked.__init__ = __init__  # type: ignore[method-assign, assignment]
    return cls


class Choice(PrimitiveConstructorSpec[str]):
    """A mark for fields whose value is a name in a registry: ``Annotated[str, Choice(SCHEDULES)]``.

    The registry is read whenever a value is checked or help is shown, so entries added at run time
    are also choices. An unknown name raises the registry's error, and the help lists the names.

    Args:
        registry: The registry that holds the names.
        *more: Allowed names that are not in the registry.
    """

    registry: Registry[Any]
    more: tuple[str, ...]
    nargs = 1

    def __init__(self, registry: Registry[Any], *more: str) -> None:
        object.__setattr__(self, "registry", registry)  # tyro's dataclass is frozen
        object.__setattr__(self, "more", more)

    def check(self, value: str) -> str:
        self.registry.check(value, *self.more)
        return value

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    @property
    def metavar(self) -> str:
        return f"{{{','.join([*self.registry, *self.more])}}}"

    def instance_from_str(self, words: list[str]) -> str:
        return words[0]

    def is_instance(self, value: Any) -> bool | Literal["~"]:
        return isinstance(value, str)

    def str_from_instance(self, value: str) -> list[str]:
        return [value]


def first_problem(error: ValidationError, place: Callable[[list[str]], str] = ".".join) -> str:
    """Return the first error of a validation as one line.

    The line begins with ``place(path)``, where ``path`` leads to the field, for example ``["train",
    "lr"]``. If mezzotint's code raised the error, for example in ``__post_init__``, the line is the
    message of the error alone.
    """
    first = error.errors()[0]
    if first["type"] == "value_error":  # raised by one of our checks
        return first["msg"].removeprefix("Value error, ")
    field = place([str(part) for part in first["loc"] if part not in KINDS] or ["kind"])
    message, kind = first["msg"], first["type"]
    given = "" if kind == "missing" or kind.startswith("union") else f", not {first['input']!r}"
    return f"{field}: {message[0].lower()}{message[1:]}{given}"
