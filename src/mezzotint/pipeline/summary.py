"""Summarise a pipeline in a few lines: the model and its sampling settings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mezzotint.config.sampling import SampleConfig
from mezzotint.errors import first_of
from mezzotint.networks.custom import Custom
from mezzotint.pipeline.codec import Pixels

if TYPE_CHECKING:
    from mezzotint.pipeline.pipeline import Pipeline


def of(pipe: Pipeline) -> str:
    """Return the text of a pipeline's repr."""
    lines = {
        "network": network(pipe),
        "images": images(pipe),
        "classes": _classes(pipe.classes),
        **({"conditions": "; ".join(map(str, pipe.conditions))} if pipe.conditions else {}),
        "prediction": f"{pipe.prediction}, on {len(pipe.schedule):,} levels of noise",
        "defaults": f"{in_words(pipe.defaults)} ({pipe.defaults_from})",
        "precision": f"{str(pipe.net.dtype).removeprefix('torch.')} on {pipe.device}",
    }
    if pipe.few_step:
        lines["few steps"] = str(pipe.few_step)
    if pipe.weaker:
        lines["guided by"] = f"a weaker {type(pipe.weaker.net).__name__}"
    return "Pipeline\n" + "\n".join(f"  {name:<11} {text}" for name, text in lines.items())


def network(pipe: Pipeline) -> str:
    """Return the class of the pipeline's network, and the number of the network's weights."""
    own = pipe.net.config.constructor if isinstance(pipe.net, Custom) else type(pipe.net).__name__
    name = re.split(r"[:.]", own)[-1]
    count = sum(weight.numel() for weight in pipe.net.parameters())
    return f"{name}, {count:,} weights"


def images(pipe: Pipeline) -> str:
    """Return the shape of the images, and the shape of the latents if the model works on them."""
    latents = "" if isinstance(pipe.codec, Pixels) else f", in latents {_sides(pipe.shape)}"
    return f"{_sides(pipe.codec.image_shape(pipe.shape))}{latents}"


def in_words(how: SampleConfig) -> str:
    """Return settings in words: sampler, steps, spacing and guidance."""
    scale = f", guidance {how.guidance:g}" if how.guidance != 1 else ""
    return f"{how.sampler}, {how.steps} steps, {how.spacing}{scale}"


def _sides(shape: tuple[int, ...]) -> str:
    """Return a shape (C, H, W) as text: height x width x channels."""
    channels, height, width = shape
    return f"{height}x{width}x{channels}"


def _classes(classes: tuple[str, ...]) -> str:
    """Return the number of the classes, and the names of the first ten."""
    if not classes:
        return "none: unconditional"
    return f"{len(classes)}: {first_of(classes)}"
