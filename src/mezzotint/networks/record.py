"""The record of a user's own network, and digests of the code of users' networks and functions."""

from __future__ import annotations

import hashlib
import inspect
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import partial
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from tyro.conf import Suppress

from mezzotint.strict import strict

PLAIN = (bool, int, float, complex, str, bytes, type(None), Enum, torch.dtype)
HASHED = 1 << 28  # bytes: larger arrays, such as a whole data set, would take too long to hash


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
        """Always 1: every image size is allowed, because the network's limits are not known."""
        return 1

    def __str__(self) -> str:
        if self.arguments is None:
            return self.constructor
        given = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"{self.constructor}({given})"


def code(module: nn.Module) -> str:
    """Return the SHA-256 of a module's source code and of the settings of its layers.

    The settings of torch's own layers are their ``extra_repr``. The settings of other layers are
    their attributes that are plain values, arrays, tensors or functions.
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


def code_of(functions: Iterable[Any]) -> str:
    """Return the SHA-256 of the code of some functions; "" if there are none.

    The code of other functions that they call is not included.
    """
    found = [text for function in functions for text in _written(function)]
    return hashlib.sha256("".join(found).encode()).hexdigest() if found else ""


def _written(function: Any) -> Iterator[str]:
    """Yield the name and the code of a function, and the values bound to it, such as defaults."""
    yield name(function)
    if isinstance(function, partial):
        yield from _written(function.func)
        yield f"{_plain(function.args)} {_plain(function.keywords)}"
    elif isinstance(function, MethodType):
        yield from _written(function.__func__)
        yield from _written(function.__self__)
    elif isinstance(function, FunctionType):
        bound = [cell.cell_contents for cell in function.__closure__ or () if _is_set(cell)]
        yield f"{_source(function)} {_plain(function.__defaults__)} {_plain(bound)}"
        yield _plain(function.__kwdefaults__) if function.__kwdefaults__ else ""
    elif hasattr(function, "__dict__"):  # an object that can be called
        yield from _sources(type(function))
        yield _plain(vars(function))
    if inner := getattr(function, "__wrapped__", None):  # such as a function in functools.cache
        yield from _written(inner)


def _is_set(cell: CellType) -> bool:
    """Return whether a variable of a closure has a value yet."""
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def name(maker: Any) -> str:
    """Return the Python module and the name of a class or function, or of an object's class."""
    named = maker if hasattr(maker, "__qualname__") else type(maker)
    return f"{named.__module__}:{named.__qualname__}"


def _settings(layer: nn.Module) -> str:
    """Return the attributes of a layer as text, without those that every nn.Module has.

    Buffers that are not in the state dict are included.
    """
    own = {key: value for key, value in vars(layer).items() if key not in vars(nn.Module())}
    own |= {key: layer._buffers[key] for key in layer._non_persistent_buffers_set}
    return ", ".join(f"{key}={_plain(own[key])}" for key in sorted(own))


def _plain(value: Any) -> str:
    """Return the repr of plain values, a digest of arrays and tensors, or a function's name.

    Return "" for anything else, and for arrays of more than `HASHED` bytes.
    """
    if isinstance(value, PLAIN):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"({', '.join(map(_plain, value))})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_plain(k)}: {_plain(v)}' for k, v in value.items())}}}"
    if isinstance(value, set | frozenset):
        return str(sorted(map(_plain, value)))
    if is_dataclass(value) and not isinstance(value, type):
        return _plain({field.name: getattr(value, field.name) for field in fields(value)})
    if isinstance(value, Tensor):
        with suppress(RuntimeError):  # of a sparse tensor, or a tensor without data
            if value.nbytes <= HASHED:
                rows = value.detach().cpu().reshape(-1).view(torch.uint8).numpy()
                return _array(str(value.dtype), value.shape, rows)
    elif isinstance(value, np.ndarray | np.generic) and not value.dtype.hasobject:
        return _array(str(value.dtype), value.shape, value) if value.nbytes <= HASHED else ""
    return str(getattr(value, "__qualname__", ""))


def _array(dtype: str, shape: tuple[int, ...], values: Any) -> str:
    """Return the type, the shape and a digest of an array; ``values`` is the array or its bytes."""
    return f"{dtype} {tuple(shape)} {hashlib.sha256(values.tobytes()).hexdigest()}"


def _sources(kind: type) -> Iterator[str]:
    """Yield the source code of each function of a class, or its bytecode if there is no source."""
    for value in vars(kind).values():
        function = getattr(value, "fget", None) or getattr(value, "__func__", value)
        if isinstance(function, FunctionType):
            yield _source(function)


def _source(function: FunctionType) -> str:
    """Return the source code of a function, or its bytecode if there is no source."""
    try:
        return textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        return _bytecode(function.__code__)


def _bytecode(code: CodeType) -> str:
    """Return the bytecode of a function, with its names and constants."""
    constants = [_bytecode(c) if isinstance(c, CodeType) else _constant(c) for c in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} {constants}"


def _constant(value: Any) -> str:
    """Return a constant as text that is the same in every process."""
    return repr(sorted(map(repr, value)) if isinstance(value, frozenset) else value)


def _room(kind: type) -> str:
    """Return the top-level package that defines a class."""
    return kind.__module__.split(".")[0]
