"""config.json: how it is written, read strictly, and compared."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import Field

from mezzotint.config.experiment import Configuration
from mezzotint.config.strict import first_problem
from mezzotint.errors import UserError

VERSION = 5
"""The version of config.json, raised whenever an older reader could not make sense of a newer file.
"""

MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {
    4: lambda content: content,  # 5 adds sample.sampler_options, whose default changes nothing
}
"""Turn the content of one version into that of the next. Every released version stays readable."""

_ADAPTER: TypeAdapter[Configuration] = TypeAdapter(
    Annotated[Configuration, Field(discriminator="kind")]
)


def to_json(experiment: Configuration) -> dict[str, Any]:
    """The content of config.json."""
    return {"version": VERSION, **_ADAPTER.dump_python(experiment, mode="json")}


def from_json(content: dict[str, Any]) -> Configuration:
    """A configuration of the content of config.json, read strictly.

    Raises pydantic's ValidationError for unknown or ill-typed fields.
    """
    return _ADAPTER.validate_json(json.dumps(content), strict=True)


def read(path: Path) -> Configuration:
    """Read a config.json of this version or an older one, strictly.

    Raises UserError for unknown or ill-typed fields, and for versions without a migration.
    """
    try:
        content = json.loads(path.read_text())
        version = operator.index(content.pop("version"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path} is not a configuration that mezzotint wrote") from None
    if not min(MIGRATIONS) <= version <= VERSION:
        raise UserError(
            f"{path} is of version {version}, this mezzotint reads versions {min(MIGRATIONS)} to "
            f"{VERSION}: use the mezzotint that wrote it, or a newer one"
        )
    for older in range(version, VERSION):
        content = MIGRATIONS[older](content)
    try:
        return from_json(content)
    except ValidationError as error:
        raise UserError(f"{path}: {first_problem(error)}") from None


def differences(a: Configuration, b: Configuration) -> dict[str, tuple[Any, Any]]:
    """The fields in which two experiments differ, by their dotted names."""

    def flat(value: Any, name: str = "") -> dict[str, Any]:
        if not isinstance(value, dict):
            return {name.removeprefix("."): value}
        return {k: v for key in value for k, v in flat(value[key], f"{name}.{key}").items()}

    left, right = flat(to_json(a)), flat(to_json(b))
    both = {k: (left.get(k), right.get(k)) for k in left | right}  # of other kinds: other fields
    return {k: (was, now) for k, (was, now) in both.items() if was != now}
