"""Checks of a pipeline with a user's own network, and a digest of a user's own functions."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mezzotint.config.sampling import SampleConfig
from mezzotint.diffusion.guidance import CLIPPINGS, GUIDANCE_SHAPES
from mezzotint.diffusion.level import Schedule
from mezzotint.diffusion.prediction import PREDICTIONS
from mezzotint.diffusion.samplers import SAMPLERS
from mezzotint.diffusion.spacings import SPACINGS
from mezzotint.errors import Registry, UserError
from mezzotint.networks.conditions import Condition, every
from mezzotint.networks.custom import Custom, check, wrap
from mezzotint.networks.network import Conditioned
from mezzotint.networks.record import code_of

if TYPE_CHECKING:
    from mezzotint.pipeline.pipeline import Pipeline


def accepted(pipe: Pipeline) -> dict[str, Any]:
    """Check the arguments of a pipeline; return its net, shape and classes.

    Raises UserError if an argument has a wrong type, or the network does not fit.
    """
    schedule, names = pipe.schedule, pipe.classes
    shape = tuple(pipe.shape) if isinstance(pipe.shape, list | tuple) else ()
    if not isinstance(schedule, Schedule):
        raise UserError(f"`schedule` is {schedule!r}: give a schedule, such as mz.cosine(1000)")
    PREDICTIONS.check(pipe.prediction)
    if len(shape) != 3 or not all(isinstance(side, int) and side > 0 for side in shape):
        raise UserError(f"`shape` is {pipe.shape!r}: give (channels, height, width)")
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise UserError(f"`classes` is {names!r}: give a tuple of names")
    if not all(isinstance(each, Condition) for each in pipe.conditions):
        raise UserError(
            f"`conditions` is {pipe.conditions!r}: give a tuple of conditions, such as "
            "mz.NumbersCondition(...)"
        )
    net = _network(pipe.net, names, pipe.conditions)
    if net is not pipe.net:
        check(net, shape, shape[0] * (1 + pipe.learned_variance))
    return {"net": net, "shape": shape, "classes": tuple(names)}


def _network(
    net: Any, classes: Sequence[str], conditions: Sequence[Condition]
) -> Custom | Conditioned:
    """Return a network that is ready to sample: ``net`` itself if it is ready, else a copy.

    A pipeline without conditions samples a conditional network unconditionally. Raises UserError if
    a network of mezzotint has other conditions than the pipeline.
    """
    if not isinstance(net, Custom | Conditioned):
        return wrap(net, len(classes), conditions)
    wanted = every(classes, conditions)
    if wanted and [_what(each) for each in wanted] != [_what(each) for each in net.conditions]:
        has, given = ("; ".join(map(str, each)) or "none" for each in (net.conditions, wanted))
        raise UserError(
            f"the network has the conditions {has}, but the pipeline {given}: give `classes` and "
            "`conditions` as the network has them"
        )
    ready = not net.training and not any(weight.requires_grad for weight in net.parameters())
    return net if ready else copy.deepcopy(net).eval().requires_grad_(False)


def _what(condition: Condition) -> tuple[Any, ...]:
    """Return the properties of a condition in which a network and its pipeline must agree.

    They are the name, the shape and, unless the condition is an image, the null value.
    """
    null = condition.null(1)
    return condition.name, null.shape, () if condition.spatial else null.tolist()


def fitting(pipe: Pipeline) -> dict[str, Any]:
    """Return new values for pipeline fields, if the default steps exceed the schedule's length.

    The new default settings have as many steps as the schedule has timesteps. The result is {} if
    the schedule is long enough. The result is also {} if the caller set ``defaults``; if they have
    too many steps, `Pipeline.grid` refuses them later.
    """
    if pipe.defaults != SampleConfig() or pipe.defaults.steps <= len(pipe.schedule):
        return {}
    defaults = replace(pipe.defaults, steps=len(pipe.schedule))
    return {"defaults": defaults, "origin": (defaults, pipe.defaults_from)}


def code(pipe: Pipeline, how: SampleConfig) -> list[str]:
    """Return a list with one digest of all the user's functions that sampling calls.

    The list is empty if there are no such functions. A user's function is an entry that the user
    has added to a registry, such as a sampler.
    """
    entries: list[tuple[Registry[Any], str]] = [
        (PREDICTIONS, pipe.prediction),
        (SAMPLERS, how.sampler),
        (SPACINGS, how.spacing),
        (GUIDANCE_SHAPES, how.guidance_shape),
        (CLIPPINGS, how.clipping),
    ]
    functions = [registry[name] for registry, name in entries if name in registry.own]
    found = code_of(getattr(each, "method", each) for each in functions)
    return [found] if found else []
