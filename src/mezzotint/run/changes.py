"""Which settings of a run may change when it is resumed, and what that does to the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from mezzotint import config as configuration
from mezzotint.config.experiment import Configuration

Changes: TypeAlias = Mapping[str, tuple[Any, Any]]
"""From the dotted names of settings to what they were and are."""

LOOKS = {"log_every", "sample_every", "save_every", "keep", "evaluate_every", "evaluate_samples"}
LOOKS |= {"sample." + name for name in configuration.SampleConfig.__dataclass_fields__}
"""How a training is looked at: nothing that is trained depends on it."""

INEXACT = {
    "train.accumulate": "the parts of a batch are others, and so are rounding and dropout",
    "precision": "the rounding is another",
}
"""Why a resumed training is not to the bit the one that was never interrupted."""

MAY_CHANGE = {"data.data", "train.images", *LOOKS, *INEXACT}
"""What may change. The data is checked by its fingerprint, wherever it lies."""


def in_words(changes: Changes, now: Configuration, step: int) -> str:
    """Return what has changed at a resume after so many steps, for the first line; "" for nothing.

    With other ``images`` the learning rate goes to where it stands in the longer or shorter
    training. That is exact unless it would have been another one on the way.
    """
    said = [f"{place.split('.')[-1]} {was} -> {is_}" for place, (was, is_) in changes.items()]
    why = [reason for place, reason in INEXACT.items() if place in changes]
    if "train.images" in changes and now.train.cooldown:
        before = replace(now.train, images=changes["train.images"][0])
        if any(before.lr_at(i) != now.train.lr_at(i) for i in range(step)):
            why.append("the steps so far had another learning rate")
    lost = f" (not to the bit an uninterrupted training: {'; '.join(why)})" if why else ""
    return f"changed: {', '.join(said)}{lost}" if said else ""
