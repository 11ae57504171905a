"""Users' own networks: remember each network that a user passes, and find it by its record.

The record, which a run or a saved model stores, is never executed. It only identifies one of the
networks that the caller has passed in this process.
"""

from __future__ import annotations

import copy
import functools
import inspect
import json
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import nn

from mezzotint.errors import UserError, warn
from mezzotint.networks.record import CustomConfig, code, name

Maker: TypeAlias = Callable[[], nn.Module]

_PASSED: dict[str, Maker] = {}  # `_key` of a record -> the network passed in this process


def passed(net: Any) -> CustomConfig:
    """Remember a network that the user passes as ``net``, so that `made` can build it.

    Args:
        net: An nn.Module, which is copied; or a class, a `functools.partial` or a function that
            returns an nn.Module when it is called without arguments.

    Returns:
        The record of the network.

    Raises:
        UserError: If ``net`` is anything else, needs arguments, or does not return an nn.Module.
    """
    if isinstance(net, nn.Module):
        config = CustomConfig(name(net), None, code(net))
        _PASSED[_key(config)] = functools.partial(copied, net)
        return config
    if not callable(net):
        raise UserError(
            f"`net` is of type {type(net).__name__}: pass an nn.Module, its class or a "
            "functools.partial of the class"
        )
    with torch.random.fork_rng(devices=[]):
        module = _called(net)
    maker, arguments = _call(net)
    config = CustomConfig(name(maker), arguments, code(module))
    _PASSED[_key(config)] = functools.partial(_called, net)
    return config


def made(config: CustomConfig) -> nn.Module:
    """Build the user's network that a configuration describes.

    The user must have passed this network to mezzotint before, in the same process.

    Raises:
        UserError: If the network was not passed, or cannot be copied. The message says what to
            pass.
    """
    if _key(config) not in _PASSED:
        raise UserError(
            f"the model has a network of your own, {config}, and its code is not in the folder: "
            "pass the module or its class from Python, as in mz.load(run, net=...)"
        )
    return _PASSED[_key(config)]()


def held(config: object) -> Callable[[], None]:
    """Return a function that makes `made` build the network that has the record ``config`` now.

    The user may pass another network with the same record before the function is called. The
    function does nothing if ``config`` is not the record of a network that the user has passed.
    """
    maker = _PASSED.get(key := _key(config)) if isinstance(config, CustomConfig) else None
    return (lambda: _PASSED.update({key: maker})) if maker else lambda: None


def passed_again(config: CustomConfig, net: Any) -> CustomConfig:
    """Remember the user's own network ``net``, as `passed` does, and return its new record.

    ``config`` is the record from the network's training. If ``net`` is a class, it is called with
    the arguments in ``config``. Warns if the code of ``net`` or the settings of its layers have
    changed since the training.
    """
    if isinstance(net, type) and config.arguments:
        net = functools.partial(net, **config.arguments)
    found = passed(net)
    warn_of_change(config, found)
    return found


def warn_of_change(then: CustomConfig, now: CustomConfig) -> None:
    """Warn if two records of a network differ in its code or in the settings of its layers."""
    if then.code != now.code:
        warn(
            f"the code of `net` ({now.constructor}) or a setting of its layers has changed since "
            "the training, so samples may differ: pass the network that was trained"
        )


def copied(net: nn.Module) -> nn.Module:
    """Return a copy of a module; raise UserError if the module cannot be copied."""
    try:
        return copy.deepcopy(net)
    except Exception as error:
        raise UserError(
            f"`net` cannot be copied ({error}): pass its class, or a functools.partial of the class"
        ) from error


def _key(config: CustomConfig) -> str:
    """Return a record as a string, which serves as a key."""
    return json.dumps([config.constructor, config.arguments, config.code], sort_keys=True)


def _called(net: Callable[[], Any]) -> nn.Module:
    """Return the module that ``net`` makes; raise UserError if the result is not a module."""
    try:
        inspect.signature(net).bind()
    except TypeError as error:
        raise UserError(
            f"`net` cannot be called without arguments ({error}): pass functools.partial(net, ...) "
            "with the arguments, or the module that `net` makes"
        ) from None
    except ValueError:  # without a signature, the call itself will show an error
        pass
    module = net()
    if not isinstance(module, nn.Module):
        raise UserError(
            f"`net` returns {type(module).__name__} when it is called: pass a class or function "
            "that returns an nn.Module"
        )
    return module


def _call(net: Any) -> tuple[Any, dict[str, Any] | None]:
    """Return a network's constructor, and its arguments (None if JSON cannot store them)."""
    if not isinstance(net, functools.partial):
        return net, {}
    signature = inspect.signature(net.func)
    given: dict[str, Any] = {}
    for key, value in signature.bind(*net.args, **net.keywords).arguments.items():
        kind = signature.parameters[key].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            return net.func, None
        given |= value if kind is inspect.Parameter.VAR_KEYWORD else {key: value}
    try:
        return net.func, json.loads(json.dumps(given, allow_nan=False))
    except (TypeError, ValueError):
        return net.func, None
