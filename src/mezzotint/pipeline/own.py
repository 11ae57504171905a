"""Checks of a pipeline with a user's own network."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mezzotint.config.sampling import SampleConfig
from mezzotint.diffusion.level import Schedule
from mezzotint.diffusion.prediction import PREDICTIONS
from mezzotint.errors import UserError
from mezzotint.networks.conditions import Condition
from mezzotint.networks.custom import check, wrap

if TYPE_CHECKING:
    from mezzotint.pipeline.pipeline import Pipeline


def accepted(pipe: Pipeline) -> dict[str, Any]:
    """Check a pipeline that a user built; return its net, shape and classes.

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
    net = wrap(pipe.net, len(names), pipe.conditions)
    check(net, shape, shape[0] * (1 + pipe.learned_variance))
    return {"net": net, "shape": shape, "classes": tuple(names)}


def fitting(pipe: Pipeline) -> dict[str, Any]:
    """Return changed fields for a pipeline with more default steps than levels in its schedule.

    The changed fields set the default steps to the number of levels. The result is {} if there are
    enough levels, or if the caller chose the settings, which are checked later.
    """
    if pipe.defaults != SampleConfig() or pipe.defaults.steps <= len(pipe.schedule):
        return {}
    defaults = replace(pipe.defaults, steps=len(pipe.schedule))
    return {"defaults": defaults, "origin": (defaults, pipe.defaults_from)}
