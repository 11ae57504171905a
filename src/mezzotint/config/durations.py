"""Shorten durations, such as the warm-up, in proportion to the length of a training."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TypeVar

from mezzotint.config.experiment import Autoencoder, Configuration
from mezzotint.trainer.loop import TrainConfig

T = TypeVar("T", bound=Configuration)
WORDS = {"warmup": "the warm-up", "ema_halflife": "the average's half-life"}


def shortened(before: Configuration, after: T, given: Collection[str]) -> tuple[T, str]:
    """Shorten the warm-up, the half-life and similar durations if a training was shortened.

    The durations are multiplied by ``after.train.images / before.train.images`` if this ratio is
    below 1. A longer training keeps them, because durations that suit a training also suit a longer
    one.

    Args:
        before: A recipe, or any other configuration.
        after: The same configuration with some fields changed.
        given: The names of the fields that the caller chose, which stay unchanged.

    Returns:
        The configuration, and a description of the changes; "" if there are none.
    """
    images, were = after.train.images, before.train.images
    if images >= were:
        return after, ""
    short = scaled(before.train, images)
    chosen = {name: getattr(short, name) for name in WORDS if name not in given}
    made = replace(after, train=replace(after.train, **chosen))
    said = [f"{WORDS[name]} {value:,.0f}" for name, value in chosen.items() if value]
    if isinstance(made, Autoencoder) and "adversarial_from" not in given:
        begins = round(made.loss.adversarial_from * images / were)
        made = replace(made, loss=replace(made.loss, adversarial_from=begins))
        said += [f"the discriminator's start {begins:,}"] * bool(begins)
    if not said:
        return made, ""
    said[0] = " is ".join(said[0].rsplit(" ", 1))
    words = " and ".join(filter(None, [", ".join(said[:-1]), said[-1]]))
    return made, f"{images:,} images instead of {were:,}, so {words} images"


def scaled(train: TrainConfig, images: int) -> TrainConfig:
    """Return ``train`` for ``images`` images, with the warm-up and the half-life in proportion.

    The half-life is at least 1 image.
    """
    times = images / train.images
    return replace(
        train,
        images=images,
        warmup=round(train.warmup * times),
        ema_halflife=max(1.0, train.ema_halflife * times),
    )
