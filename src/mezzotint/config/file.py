"""Write config.json, read it strictly, and compare two configurations."""

from __future__ import annotations

import json
import operator
from pathlib import Path
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import Field

from mezzotint.config import migrations
from mezzotint.config.experiment import Configuration
from mezzotint.config.paths import located
from mezzotint.errors import Damaged, UserError
from mezzotint.storage.parse import content as content_of
from mezzotint.storage.parse import parsed
from mezzotint.strict import first_problem

_ADAPTER: TypeAdapter[Configuration] = TypeAdapter(
    Annotated[Configuration, Field(discriminator="kind")]
)


def to_json(experiment: Configuration) -> dict[str, Any]:
    """Return the content of config.json."""
    return {"version": migrations.VERSION, **_ADAPTER.dump_python(experiment, mode="json")}


def from_json(content: dict[str, Any]) -> Configuration:
    """Make a configuration from the content of config.json, strictly.

    Raises pydantic's ValidationError for unknown fields and for values of a wrong type.
    """
    return _ADAPTER.validate_json(json.dumps(content), strict=True)


def read(path: Path, home: Path | None = None) -> Configuration:
    """Read a config.json strictly, and return the configuration with absolute paths.

    The file may be of an older version; `migrations` converts it. `located` makes paths absolute.

    Args:
        path: The file.
        home: The run's folder, for `located`; None means the file's folder.

    Raises:
        Damaged: If the file cannot be read, mezzotint did not write the file, a field is unknown or
            missing, or a value has a wrong type or is not allowed.
        UserError: If this version of mezzotint cannot read the version of the file.
    """
    alien = Damaged(f"{path} is not a configuration: give a file that mezzotint wrote")
    try:
        content = parsed(content_of(path))
        version = operator.index(content.pop("version"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise alien from None
    known = migrations.readable()
    if version not in known:
        raise UserError(
            f"{path} has version {version}, but this version of mezzotint reads only versions "
            f"{known[0]} to {known[-1]}: use the version of mezzotint that wrote the file"
        )
    try:
        return located(from_json(migrations.migrate(content, version)), home or path.parent)
    except ValidationError as error:
        raise Damaged(f"{path}: {first_problem(error)}") from None
    except (LookupError, TypeError, AttributeError, ValueError):
        # A migration may raise these on damaged content.
        raise alien from None


def differences(a: Configuration, b: Configuration) -> dict[str, tuple[Any, Any]]:
    """Return ``{dotted name: (value in a, value in b)}`` for each field in which a and b differ."""

    def flat(value: Any, name: str = "") -> dict[str, Any]:
        if not isinstance(value, dict):
            return {name.removeprefix("."): value}
        return {k: v for key in value for k, v in flat(value[key], f"{name}.{key}").items()}

    left, right = flat(to_json(a)), flat(to_json(b))
    # One of them may lack a field, if they are of different kinds.
    both = {k: (left.get(k), right.get(k)) for k in left | right}
    return {k: (was, now) for k, (was, now) in both.items() if was != now}
