"""Optimised grids. Each is computed once, and kept in a file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mezzotint.config.sampling import SampleConfig
from mezzotint.diffusion.guidance import along
from mezzotint.diffusion.noise import noise
from mezzotint.diffusion.optimised_grid import optimised, path
from mezzotint.diffusion.samplers import SAMPLERS
from mezzotint.errors import UserError
from mezzotint.pipeline import own
from mezzotint.storage import files
from mezzotint.storage.cache import cache_folder
from mezzotint.storage.parse import content, parsed

if TYPE_CHECKING:
    from mezzotint.pipeline.pipeline import Pipeline


def settled(pipe: Pipeline, how: SampleConfig) -> SampleConfig:
    """Return the settings, with ``knots`` instead of the spacing "optimised".

    The knots are the levels of the optimised grid. They are computed once, on two batches of 64
    samples, and kept in the model's folder, or in the cache if there is no folder that can be
    written. Settings with another spacing are returned unchanged.
    """
    if how.spacing != "optimised":
        return how
    order = min(SAMPLERS[how.sampler].order, 2)
    model = [pipe.digest, pipe.prediction, *own.code(pipe, how)]
    facts = json.dumps([*model, how.steps, order, *how.guided(), how.rescale, how.clipping])
    name = hashlib.sha256(facts.encode()).hexdigest()[:16]

    def measure() -> list[float]:
        scale = along(path(pipe.schedule, how.steps), *how.guided())
        denoise = pipe._guided(pipe.given(64), scale, how.rescale, how.clipping)
        empty = torch.empty(64, *pipe.shape, device=pipe.device)
        batches = [noise(0, range(first, first + 64))(empty) for first in (0, 64)]
        with torch.inference_mode():
            return optimised(denoise, batches, pipe.schedule, how.steps, order)

    file = (pipe.home or Path()) / "grids" / f"{name}.json"
    if not (pipe.home and (file.exists() or os.access(pipe.home, os.W_OK))):
        file = cache_folder("grids") / file.name
    return replace(how, spacing="knots", knots=tuple(remembered(file, measure)))


def remembered(file: Path, measure: Callable[[], list[float]]) -> list[float]:
    """Return the values of sigma / alpha in a file; if it does not exist, compute and write them.

    Raises UserError for a damaged file.
    """
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        files.replace(file, json.dumps({"sigma/alpha": measure()}))
    try:
        return [float(knot) for knot in parsed(content(file))["sigma/alpha"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{file} is damaged: delete it, and it will be computed again") from None
