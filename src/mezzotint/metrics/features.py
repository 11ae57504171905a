"""The features of many images, kept on the disk to save memory.

Several processes can share the computation.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from safetensors.numpy import load, save
from torch import Tensor

from mezzotint.errors import UserError
from mezzotint.metrics.networks import FeatureNetwork
from mezzotint.processes import ALONE, Share
from mezzotint.storage import files
from mezzotint.storage.arrays import allocate, nchw
from mezzotint.storage.cache import cache_folder, check_room, writing

Rows: TypeAlias = tuple[np.ndarray, ...]
"""Features of a batch: pooled, spatial, and the probabilities of the classes."""
NAMES = ("pool", "spatial", "probabilities")
BATCH = 50  # images that the network processes at once; more would be slower on a CPU
PART = 5 * BATCH  # images that a process takes at a time, in whole batches, as rounding needs


class Features:
    """Collects a network's features of up to ``count`` images, batch by batch.

    ``pool`` (n, D), ``spatial`` (n, S) and ``probabilities`` (n, K) are float32 arrays for the n
    images so far. They are memory-mapped from unlinked temporary files, so they take no memory and
    vanish when the process ends.
    """

    def __init__(self, network: FeatureNetwork, count: int) -> None:
        if count < 1:
            raise UserError("there are no images to measure: give one or more")
        self.network, self.count, self.done = network, count, 0
        self._size: torch.Size | None = None
        self._rows: list[np.ndarray] = []

    def add(self, images: Tensor, on_batch: Callable[[int], None] = lambda done: None) -> None:
        """Compute and add the features of images, uint8 (n, 3, H, W).

        ``on_batch(done)`` is called after each batch with the number of images so far. Raises
        UserError if the images are not uint8 (n, 3, H, W), if their size differs from the size of
        earlier images, or if a feature is not finite.
        """
        for rows in self.rows(images):
            self.put(self.done, rows)
            self.done += len(rows[0])
            on_batch(self.done)

    def rows(self, images: Tensor) -> Iterator[Rows]:
        """Yield the features of images, a batch at a time, without storing them."""
        if self._size not in (None, images.shape[2:]):
            a, b = ("x".join(map(str, size)) for size in (self._size or (), images.shape[2:]))
            raise UserError(
                f"the images have different sizes, {a} and {b}: scale them to the same size"
            )
        self._size = images.shape[2:]
        for batch in torch.split(images, BATCH):
            seen = self.network(batch)
            probabilities = seen.logits.double().softmax(1).float()
            yield tuple(row.numpy() for row in (seen.pool, seen.spatial, probabilities))

    def put(self, start: int, rows: Rows) -> None:
        """Write the features of a batch whose first image has the index ``start``.

        ``pool``, ``spatial`` and ``probabilities`` hold only the first ``self.done`` images. The
        caller must increase ``self.done`` to include the batch.
        """
        self._rows = self._rows or [_mapped(self.count, row.shape[1]) for row in rows]
        for kept, row in zip(self._rows, rows, strict=True):
            kept[start : start + len(row)] = row

    @property
    def pool(self) -> np.ndarray:
        return self._rows[0][: self.done]

    @property
    def spatial(self) -> np.ndarray:
        return self._rows[1][: self.done]

    @property
    def probabilities(self) -> np.ndarray:
        return self._rows[2][: self.done]


def features(
    network: FeatureNetwork,
    images: np.ndarray,
    on_batch: Callable[[int], None] = lambda done: None,
    place: Path = Path(),
    share: Share = ALONE,
) -> Features:
    """Return the features of the images in a prepared array, uint8 (N, H, W, 3).

    Several processes share the work, and only the first process gets the features; see `gather`.
    """
    seen = Features(network, len(images))
    parts = [*pairwise([*range(0, len(images), PART), len(images)])]
    gather(seen, parts, lambda start, end: nchw(images[start:end]), place, share, on_batch)
    return seen


def gather(
    seen: Features,
    parts: Sequence[tuple[int, int]],
    images: Callable[[int, int], Tensor],
    place: Path,
    share: Share = ALONE,
    on_batch: Callable[[int], None] = lambda done: None,
) -> None:
    """Compute features of images, and add them to ``seen``; several processes share this work.

    The images are divided into ``parts``, which the processes take in turn. Only the first process
    adds features to ``seen``; the other processes write theirs to files, which the first process
    reads and removes.

    Args:
        seen: The features so far.
        parts: The indices (start, end) of each part; the image ``end`` is not in the part.
        images: ``images(start, end)`` returns a part, uint8 (n, 3, H, W).
        place: The beginning of the files' paths, on a disk that all processes share.
        share: This process's share of the work.
        on_batch: Called by the first process after each of its batches, with the index of the image
            that follows the batch.
    """
    passed = [Path(f"{place}-{start:06d}.safetensors") for start, _ in parts]
    for k in range(share.number, len(parts), share.count):
        done, batches = parts[k][0], []
        for rows in seen.rows(images(*parts[k])):
            batches.append(rows)
            done += len(rows[0])
            if not share.number:
                on_batch(done)
        part = tuple(map(np.concatenate, zip(*batches, strict=True)))
        if share.number:
            with writing(place.parent), files.beside(passed[k]) as partial:
                partial.write_bytes(save(dict(zip(NAMES, part, strict=True))))
        else:
            seen.put(parts[k][0], part)
    share.wait()
    for k in range(len(parts)) if not share.number else ():
        if k % share.count:
            found = load(passed[k].read_bytes())
            seen.put(parts[k][0], tuple(found[name] for name in NAMES))
            passed[k].unlink()
    seen.done = parts[-1][1]


def _mapped(rows: int, columns: int) -> np.ndarray:
    """Make a float32 array (rows, columns), memory-mapped from an unlinked temporary file."""
    folder = cache_folder("features")
    check_room(folder, 4 * rows * columns, "features", "measure fewer images")
    with writing(folder), tempfile.TemporaryFile(dir=folder) as file:
        allocate(file.fileno(), 4 * rows * columns)
        return np.memmap(file, np.float32, "r+", shape=(rows, columns))
