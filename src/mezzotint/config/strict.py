"""How a configuration is validated, and the one line that says what is wrong with one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

from pydantic import ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, core_schema
from tyro.constructors import PrimitiveConstructorSpec

from mezzotint.errors import Registry, UserError

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


class Choice(PrimitiveConstructorSpec[str]):
    """Marks a field as a name in a registry: ``Annotated[str, Choice(SCHEDULES)]``.

    The registry is read whenever a value is checked or help is shown, so that an entry made at run
    time is a choice too. pydantic raises the registry's error; tyro's help lists the names.

    Args:
        registry: The registry that has the names.
        *more: Names that are allowed besides.
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
    """The first complaint of a validation as one line; ``place`` names the field by its parts."""
    first = error.errors()[0]
    if first["type"] == "value_error":  # raised by a check of ours
        return first["msg"].removeprefix("Value error, ")
    field = place([str(part) for part in first["loc"] if part not in KINDS] or ["kind"])
    message, kind = first["msg"], first["type"]
    given = "" if kind == "missing" or kind.startswith("union") else f", not {first['input']!r}"
    return f"{field}: {message[0].lower()}{message[1:]}{given}"
