"""The samples of a measured model, kept in blocks that several processes share.

For one model, with the same settings and batch size, a block depends only on the seed and on its
index. So work that was stopped can continue, more samples need only the missing blocks, and the
samples do not depend on the number of processes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from mezzotint.config.sampling import SampleConfig
from mezzotint.errors import UserError
from mezzotint.pipeline import own
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.storage import arrays, files
from mezzotint.storage.cache import cache_folder, writing
from mezzotint.storage.parse import regular

Follow = Callable[[str, float, int], None]
"""``follow(what, done, total)``: the name of the current work, the amount done, and the total."""


def key(pipe: Pipeline, how: SampleConfig, seed: int, batch: int) -> str:
    """Return a digest of everything on which the samples of a model depend."""
    facts = [version("mezzotint"), pipe.prediction, pipe.shape, pipe.classes, str(pipe.net.dtype)]
    settings = asdict(pipe.settled(how))
    told = json.dumps([pipe.digest, *facts, settings, seed, batch, *own.code(pipe, how)])
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def kept(pipe: Pipeline, how: SampleConfig, seed: int, batch: int) -> Path:
    """Return the folder in the cache that keeps the samples of an evaluation."""
    return cache_folder("samples") / key(pipe, how, seed, batch)


def make(
    pipe: Pipeline,
    folder: Path,
    i: int,
    how: SampleConfig,
    seed: int,
    batch: int,
    total: int,
    follow: Follow,
) -> None:
    """Make block i, the ``batch`` samples from index ``i * batch`` on, and save it atomically."""

    def on_step(done: int, calls: int) -> None:
        follow("samples", min(i * batch + batch * done / calls, total), total)

    # As arguments of sample, settings that are None would mean the model's defaults.
    exactly = replace(pipe, defaults=how)
    images = exactly.sample(batch, seed=seed, first=i * batch, batch=batch, on_step=on_step)
    with writing(folder), files.beside(block(folder, i)) as partial:
        arrays.save_summed(partial, images.numpy())


def block(folder: Path, i: int) -> Path:
    """Return the path of the file that holds block i of the samples."""
    return folder / f"{i:06d}.npy"


def stored(folder: Path, start: int, end: int, batch: int) -> Iterator[Tensor]:
    """Yield the samples with the indices ``start`` to ``end - 1``, several at a time.

    Each file in the folder, a block, holds ``batch`` samples. Raises UserError for a damaged
    block.
    """
    for i in range(start // batch, -(-end // batch)):
        path = block(folder, i)
        try:
            images = torch.from_numpy(arrays.load_summed(regular(path)))
        except (OSError, EOFError, ValueError):
            raise UserError(f"{path} is damaged: delete it, and it will be made again") from None
        yield images[max(0, start - i * batch) : end - i * batch]
