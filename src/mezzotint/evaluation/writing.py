"""Write the samples of a request to a folder; several processes may share the work."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mezzotint.config.sampling import SampleConfig
from mezzotint.data.values import Values
from mezzotint.drawing import figures
from mezzotint.errors import counted, warn
from mezzotint.networks.conditions import Given
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.pipeline.sampling import SampleRequest, rows_of, sample
from mezzotint.processes import Share
from mezzotint.storage import files


def write_share(
    pipe: Pipeline,
    out: Path,
    request: SampleRequest,
    how: SampleConfig,
    rows: Given | None,
    share: Share,
    grid: Callable[[Tensor], None],
    on_step: Callable[[int, int], None],
) -> Tensor:
    """Make this process's share of the requested samples, write it to a folder, and return it.

    ``rows`` has the conditions of all requested samples. The first process calls ``grid`` with its
    first batch, to draw the grid. The samples are divided into the same batches for any number of
    processes, because the size of a batch affects how its samples are rounded.
    """
    size, batches = request.batch, -(-request.n // request.batch)
    if batches < share.count and not share.number:
        warn(
            f"{counted(batches, 'batch', 'batches')} of {size} leave {share.count - batches} of "
            f"{share.count} processes idle: choose a smaller `batch`"
        )
    pipe.compile_for(batches, how)  # as a single process would compile for all the batches
    mine = share.part(batches)
    start, end = (min(i * size, request.n) for i in (mine.start, mine.stop))
    written: list[Future[None]] = []
    with ThreadPoolExecutor(1) as writer:  # writes samples while the next samples are made

        def write(i: int, made: Tensor) -> None:
            # The grid, which records the settings, comes before any sample, so that a request that
            # is stopped can continue.
            if not i:
                if not share.number:
                    written.append(writer.submit(grid, made))
                if share.count > 1:
                    _finish(written)
                    share.wait()
            written.append(writer.submit(_save, made, pipe, out, request.first + start + i))

        if start == end:
            share.wait()
            return torch.empty(0, dtype=pipe.values.tensor_dtype)
        part = SampleRequest(end - start, request.seed, request.first + start, size)
        rows = rows_of(rows, range(start, end))
        images = sample(pipe, how, part, rows, on_step, write)
        _finish(written)
    return images


def _finish(written: list[Future[None]]) -> None:
    """Wait until all files are written; raise the error if a file could not be written."""
    for each in written:
        each.result()


def _save(images: Tensor, pipe: Pipeline, out: Path, start: int) -> None:
    """Save samples as files numbered from ``start`` on."""
    for i, image in enumerate(images, start):
        save_image(image, pipe.values, out / f"{i:06d}.png")


def save_image(image: Tensor, values: Values, path: Path) -> None:
    """Save a sample (C, H, W) as PNG, atomically, unless the file exists.

    If PNG cannot store the sample, a .npy file stores it, and the PNG file shows it in 8 bits.
    """
    if path.exists():
        return
    shown = image
    if not values.fits_png(len(image)):
        with files.beside(path.with_suffix(".npy"), synced=False) as partial:
            np.save(partial, image.permute(1, 2, 0).numpy())
        shown = values.visible(image[None])[0]
    with files.beside(path, synced=False) as partial:
        figures.to_pil(shown).save(partial, "PNG")
