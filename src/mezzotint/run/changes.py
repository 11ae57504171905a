"""The settings that may change when a run is resumed, and how a change affects the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from mezzotint import config as configuration
from mezzotint.config.experiment import Configuration, Experiment
from mezzotint.networks import Network
from mezzotint.trainer.distilling import DISTILLATIONS
from mezzotint.trainer.distilling.config import DistillationConfig
from mezzotint.trainer.objective import ObjectiveConfig

Changes: TypeAlias = Mapping[str, tuple[Any, Any]]
"""The old and the new value of each changed setting, by its dotted name."""

LOOKS = {"log_every", "sample_every", "save_every", "keep", "evaluate_every", "evaluate_samples"}
LOOKS |= {"sample." + name for name in configuration.SampleConfig.__dataclass_fields__}
"""Settings of logging, saving and sampling, on which the training itself does not depend, except
that a distillation depends on ``sample.clipping``."""

INEXACT = {
    "train.accumulate": "another division of a batch changes rounding and dropout",
    "precision": "another precision changes rounding",
    "shard": "divided gradients are summed in another order",
}
"""Settings whose change makes a resumed training differ, with the reasons."""

MAY_CHANGE = {"data.data", "data.mode", "data.range", "train.images", *LOOKS, *INEXACT}
"""All settings that may change. The data may move, because it is checked by its fingerprint."""


def in_words(
    changes: Changes,
    now: Configuration,
    step: int,
    were: int | None = None,
    are: int | None = None,
    net: Network | None = None,
) -> str:
    """Return the changes on resuming after ``step`` steps, in words; "" if there are none.

    ``were`` is the number of processes that shared each batch before the interruption, and ``are``
    is the number now. ``net`` is the network; None means that it is never compiled.

    If the result will not be bit-identical to that of an uninterrupted training, the description
    also says why.

    If ``images`` changes, the training gets a new length, and the following steps use the learning
    rates of a training of that length. The steps so far used the old length. The result differs if
    the new length would have changed their learning rates, image sizes or phases of a distillation,
    or if only the longer training compiles the network.
    """
    said = [f"{place.split('.')[-1]} {was} -> {is_}" for place, (was, is_) in changes.items()]
    why = [reason for place, reason in INEXACT.items() if place in changes]
    if were and were != are:
        said.append(f"processes {were} -> {are}")
        why.append("another division of a batch changes rounding and dropout")
    if "train.images" in changes:
        before = replace(now.train, images=changes["train.images"][0])
        cools = now.train.cooldown > 0
        if cools and any(before.lr_at(i) != now.train.lr_at(i) for i in range(step)):
            why.append("the steps so far had another learning rate")
        if net and net.repays(before.steps) != net.repays(now.train.steps):
            why.append("compiled code rounds differently, and only the longer training is compiled")
    objective = now.objective if isinstance(now, Experiment) else None
    if "train.images" in changes and isinstance(objective, ObjectiveConfig):
        small = {round(objective.small_first * images) for images in changes["train.images"]}
        if len({min(step * now.train.batch, images) for images in small}) > 1:
            why.append("the steps so far had images of another size")
    if "train.images" in changes and isinstance(objective, DistillationConfig):
        method, size = DISTILLATIONS[objective.method], now.train.batch
        phases = [
            [method.phase(objective, i * size, images) for i in range(step)]
            for images in changes["train.images"]
        ]
        if phases[0] != phases[1]:
            why.append("the method divides a training of another length differently")
    if "sample.clipping" in changes and isinstance(objective, DistillationConfig):
        why.append("the student learns from images of the teacher that are clipped differently")
    lost = f" (the result will not be bit-identical: {'; '.join(why)})" if why else ""
    return f"changed: {', '.join(said)}{lost}" if said else ""
