"""Load compiled code, and remove damaged libraries from the compiler's cache."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from typing import Any

import torch

from mezzotint.errors import UserError, out_of_memory

TRIES = 32  # the number of tries; a killed compiler may have left several damaged libraries

_LIBRARY = re.compile(r"(/.*?\.so): ")  # how an error message of the system's loader begins


@cache
def compiles() -> bool:
    """Return whether torch.compile works for the CPU: it needs a C++ compiler and Python's headers.

    The test compiles a small function, which takes seconds.
    """

    def small(x: torch.Tensor) -> torch.Tensor:
        return x.sin() + 1

    try:
        mending(torch.compile(small))(torch.zeros(1))
    except Exception:  # whatever the error is, networks stay uncompiled
        return False
    return True


def mending(call: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a compiled function, so that the compiler replaces damaged libraries in its cache.

    The compiler writes libraries under their final names. If it is killed, a damaged library stays
    in its cache. Without this wrapper, all later compilations of the same code would fail. The
    wrapped function raises UserError if it cannot be compiled.
    """

    @wraps(call)
    def mended(*args: Any, **kwargs: Any) -> Any:
        for left in reversed(range(TRIES)):
            try:
                return call(*args, **kwargs)
            except Exception as error:
                if left and _removed(error):
                    continue
                if words := _failure(error):
                    raise UserError(words) from error
                raise
        raise AssertionError

    return mended


def _failure(error: Exception) -> str:
    """Return why a compilation failed; "" if ``error`` has another cause, such as full memory."""
    from torch._dynamo.exc import BackendCompilerFailed  # imported here, as it takes a second
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    if not isinstance(error, BackendCompilerFailed) or out_of_memory(error):
        return ""
    reason = str(getattr(error, "inner_exception", error)).strip().splitlines()[-2:]
    return (
        f"the network cannot be compiled ({'; '.join(reason)[-200:]}): check that {cache_dir()} "
        "has free space and that the C++ compiler works, and try again"
    )


def _removed(error: Exception) -> bool:
    """Remove the damaged library that ``error`` names, and return True; False if it names none."""
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    cause = getattr(error, "inner_exception", error)
    found = _LIBRARY.match(str(cause)) if isinstance(cause, ImportError | OSError) else None
    if not found or not Path(found[1]).is_relative_to(cache_dir()):
        return False
    Path(found[1]).unlink(missing_ok=True)
    return True
