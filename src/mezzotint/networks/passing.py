"""Networks of the user's own as they are passed, and made again from what was passed.

Nothing is made on a folder's word: a record in a folder only says which of the networks that the
caller has passed in this process is the one.
"""

from __future__ import annotations

import copy
import functools
import inspect
import json
import warnings
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import nn

from mezzotint.errors import UserError
from mezzotint.networks.record import CustomConfig, code, name

Maker: TypeAlias = Callable[[], nn.Module]

_PASSED: dict[str, Maker] = {}  # what the user has passed in this process, by its record


def passed(net: Any) -> CustomConfig:
    """Take a network that the user passes as ``net``, which `made` makes from then on.

    Args:
        net: an nn.Module, of which copies are made; or its class, a `functools.partial` of that or
            a function, which is called without arguments.

    Returns:
        The record of it.

    Raises:
        UserError: it is none of these, or its call fails.
    """
    if isinstance(net, nn.Module):
        config = CustomConfig(name(net), None, code(net))
        _PASSED[_key(config)] = functools.partial(copied, net)
        return config
    if not callable(net):
        raise UserError(
            f"`net` is a {type(net).__name__}: pass an nn.Module, its class or a "
            "functools.partial of that"
        )
    with torch.random.fork_rng(devices=[]):
        module = _called(net)
    maker, arguments = _call(net)
    config = CustomConfig(name(maker), arguments, code(module))
    _PASSED[_key(config)] = functools.partial(_called, net)
    return config


def made(config: CustomConfig) -> nn.Module:
    """Make the network of a record, if it has been passed in this process.

    Raises:
        UserError: it has not. The message says what to pass.
    """
    if _key(config) not in _PASSED:
        raise UserError(
            f"the network is one of the user's own, {config}, and is not made on a folder's word: "
            "from Python, pass the module or its class again, as in mz.load(run, net=...)"
        )
    return _PASSED[_key(config)]()


def passed_again(config: CustomConfig, net: Any) -> CustomConfig:
    """Take a network that the user passes for a record, and return its own record.

    A class alone is called with the recorded arguments. Warns where the code or the settings of its
    layers are not the recorded ones.
    """
    if isinstance(net, type) and config.arguments:
        net = functools.partial(net, **config.arguments)
    found = passed(net)
    warn_of_change(config, found)
    return found


def warn_of_change(then: CustomConfig, now: CustomConfig) -> None:
    """Warn where the code or the settings of a network's layers have changed."""
    if then.code != now.code:
        warnings.warn(
            f"`net` is not quite the network that was trained: the code of {now.constructor} has "
            "changed since, or a setting of its layers, and so may what it makes",
            stacklevel=4,
        )


def copied(net: nn.Module) -> nn.Module:
    """A copy of a module; UserError where there is none to be had."""
    try:
        return copy.deepcopy(net)
    except Exception as error:
        raise UserError(
            f"`net` cannot be copied ({error}): pass its class, or a functools.partial of that"
        ) from error


def _key(config: CustomConfig) -> str:
    return json.dumps([config.constructor, config.arguments, config.code], sort_keys=True)


def _called(net: Callable[[], Any]) -> nn.Module:
    try:
        inspect.signature(net).bind()
    except TypeError as error:
        raise UserError(
            f"`net` cannot be called without arguments ({error}): pass a functools.partial of it "
            "with these, or the module that it makes"
        ) from None
    except ValueError:  # it has no signature that could be read: the call will tell
        pass
    module = net()
    if not isinstance(module, nn.Module):
        raise UserError(
            f"`net` makes a {type(module).__name__} when it is called: pass what makes an nn.Module"
        )
    return module


def _call(net: Any) -> tuple[Any, dict[str, Any] | None]:
    """What is called, and with which arguments by name: None where JSON cannot hold them."""
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
