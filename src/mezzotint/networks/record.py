"""The record of a user's own network: its constructor, and a digest of its code."""

from __future__ import annotations

import hashlib
import inspect
import textwrap
from collections.abc import Iterator
from types import FunctionType
from typing import Any, Literal

from torch import nn
from tyro.conf import Suppress

from mezzotint.strict import strict

PLAIN = (bool, int, float, str, type(None))


@strict
class CustomConfig:
    """The record of how a user's own network was constructed. It is never executed."""

    constructor: str = ""
    """The module and name of the class, or of the function, that built the network."""
    arguments: dict[str, Any] | None = None
    """The arguments of the constructor; None if they are not known."""
    code: str = ""
    """SHA-256 of the source code and of the layers' settings; "" if these are not known."""
    kind: Suppress[Literal["custom"]] = "custom"

    @property
    def factor(self) -> int:
        """The number that must divide the sides of images: 1, as the true number is not known."""
        return 1

    def __str__(self) -> str:
        if self.arguments is None:
            return self.constructor
        given = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"{self.constructor}({given})"


def code(module: nn.Module) -> str:
    """Return the SHA-256 of a module's source code and of the settings of its layers.

    The settings of torch's own layers are their ``extra_repr``. The settings of other layers are
    their attributes that are plain values or functions.
    """
    digest = hashlib.sha256()
    for path, layer in module.named_modules():
        kinds = [kind for kind in type(layer).__mro__ if _room(kind) not in ("torch", "builtins")]
        settings = _settings(layer) if kinds else layer.extra_repr()
        digest.update(f"{path} {type(layer).__qualname__} {settings}".encode())
        for kind in kinds:
            if _room(kind) != "mezzotint":
                digest.update("".join(_sources(kind)).encode())
    return digest.hexdigest()


def name(maker: Any) -> str:
    """Return the Python module and the name of a class or function, or of an object's class."""
    named = maker if hasattr(maker, "__qualname__") else type(maker)
    return f"{named.__module__}:{named.__qualname__}"


def _settings(layer: nn.Module) -> str:
    """Return the attributes of a layer that nn.Module itself does not have, as text."""
    own = vars(layer).keys() - vars(nn.Module()).keys()
    return ", ".join(f"{key}={_plain(vars(layer)[key])}" for key in sorted(own))


def _plain(value: Any) -> str:
    """Return the repr of plain values, the name of a function, or "" for anything else."""
    if isinstance(value, PLAIN):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"({', '.join(map(_plain, value))})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_plain(k)}: {_plain(v)}' for k, v in value.items())}}}"
    return str(getattr(value, "__qualname__", ""))


def _sources(kind: type) -> Iterator[str]:
    """Yield the source code of each function of a class, or its bytecode if there is no source."""
    for value in vars(kind).values():
        function = getattr(value, "fget", None) or getattr(value, "__func__", value)
        if isinstance(function, FunctionType):
            try:
                yield textwrap.dedent(inspect.getsource(function))
            except (OSError, TypeError):
                yield f"{function.__code__.co_code.hex()} {function.__code__.co_names}"


def _room(kind: type) -> str:
    """Return the top-level package that defines a class."""
    return kind.__module__.split(".")[0]
