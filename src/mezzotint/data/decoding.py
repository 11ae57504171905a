"""Decode the images of a source with all processors, in order."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from time import monotonic
from typing import Any, TypeAlias

import numpy as np

from mezzotint.data.images import CHANNELS, ImageFile, Pixels, Wanted, converted, fit
from mezzotint.data.reading import UnreadableImage, passing
from mezzotint.data.sizes import Size
from mezzotint.data.source import Item, Source
from mezzotint.data.values import DTYPES, EIGHT_BIT, OF_16_BITS, Values
from mezzotint.data.workers import Workers
from mezzotint.errors import UserError

Decoded: TypeAlias = tuple[Item, Pixels | UnreadableImage]

_CHUNK = 32  # images in a thread's task; starting a task costs as much as decoding a small image
_HELD = 1 << 30  # limit on the bytes of decoded images in memory, for all tasks together
_DTYPES = frozenset(map(np.dtype, DTYPES))
_SOON, _LONG = 0.1, 1.0  # workers start after so many seconds, if so many more are expected


@dataclass(frozen=True)
class Decoding:
    """A source to decode, and the format to decode it to.

    ``stated`` is the type and range of the values if the source is an array, else None.
    """

    source: Source
    size: Size | None
    wanted: Wanted
    stated: Values | None

    @property
    def format(self) -> Wanted:
        """The format in which decoders should return images; it includes the size."""
        return replace(self.wanted, size=self.size)

    def pixels(self, item: Item, decoded: Pixels | None = None) -> Pixels | UnreadableImage:
        """Decode an item and convert its pixels; return the error if the item cannot be read.

        ``decoded`` holds the pixels if a worker process has decoded the item. This method may run
        in any thread.
        """
        try:
            pixels = item.decode(self.format) if decoded is None else decoded
        except UnreadableImage as error:
            return error
        except OSError as error:
            raise passing(item.name, error) from None
        if self.stated and isinstance(pixels, np.ndarray):
            pixels = pixels.astype(self.stated.dtype, copy=False)
        self._check(item, pixels)
        pixels = converted(pixels, self.wanted.mode, self.stated)
        return fit(pixels, self.size, alpha=self.wanted.mode == "rgba")

    def values(self, dtype: Any) -> Values:
        """Return the type and range of the prepared values, for images decoded to ``dtype``."""
        if self.wanted.mode in CHANNELS:
            return Values(alpha=self.wanted.mode == "rgba")
        if self.stated:
            return self.stated
        if self.wanted.range and dtype != np.float32:
            raise UserError(
                f"the images of {self.source.name} are {dtype}, so their range is known: leave out "
                "`range`"
            )
        bounds = self.wanted.range if dtype == np.float32 else OF_16_BITS
        return EIGHT_BIT if dtype == np.uint8 or not bounds else Values(str(dtype), *bounds)

    def _check(self, item: Item, pixels: Any) -> None:
        what = f"{item.name} of {self.source.name}"
        known = isinstance(pixels, np.ndarray) and pixels.dtype in _DTYPES
        ranged = known and (pixels.dtype != np.float32 or self.stated or self.wanted.range)
        if not ranged or pixels.ndim != 3 or 0 in pixels.shape:
            array = isinstance(pixels, np.ndarray)
            found = f"{pixels.dtype} {pixels.shape}" if array else type(pixels).__name__
            raise UserError(
                f"the source {self.source.name} decodes {item.name} to {found}: return (H, W, C) "
                "of uint8 or uint16, or of float32 if the source or `range` states the range"
            )
        if pixels.dtype != np.float32:
            return
        if not np.isfinite(pixels).all():
            raise UserError(f"{what} has values that are not finite: repair or remove it")
        if self.stated is None and self.wanted.range:
            low, high = self.wanted.range
            if pixels.min() < low or pixels.max() > high:
                raise UserError(
                    f"{what} has values from {pixels.min():g} to {pixels.max():g}, outside "
                    f"`range=({low:g}, {high:g})`: clip them or give another range"
                )


def decoded(items: Iterable[Item], task: Decoding) -> Iterator[Decoded]:
    """Decode items with one thread for each processor, and yield the images in order.

    The threads take the items in chunks. Only a few chunks are in memory at a time, and chunks of
    large images have fewer items. If decoding image files takes long, each thread gets a worker
    process.
    """
    stream, length = iter(items), _CHUNK if task.size else 1
    threads = os.cpu_count() or 1
    share = _HELD // (2 * threads + 1)
    pending: deque[Future[tuple[list[Decoded], list[Item]]]] = deque()
    workers, pool = Workers(threads, share), ThreadPoolExecutor(threads)
    began, count = monotonic(), 0
    try:
        while (chunk := list(islice(stream, length))) or pending:
            if chunk:
                pending.append(pool.submit(_chunk, chunk, task, share, workers))
            if not chunk or len(pending) > 2 * threads:
                done, rest = pending.popleft().result()
                largest = max(_bytes(pixels) for _, pixels in done)
                length = max(1, min(_CHUNK, share // max(1, largest)))
                count += len(done) + len(rest)
                ready = count + length * sum(future.done() for future in pending)
                seconds = monotonic() - began
                left = seconds * (task.source.count / ready - 1)
                if seconds > _SOON and left > _LONG and isinstance(done[0][0].decode, ImageFile):
                    workers.start()
                yield from done
                yield from ((item, task.pixels(item)) for item in rest)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        workers.end()
        pool.shutdown()


def _chunk(
    items: list[Item], task: Decoding, most: int, workers: Workers
) -> tuple[list[Decoded], list[Item]]:
    """Decode items until their pixels exceed ``most`` bytes.

    Returns the decoded items, and the items that are not decoded yet.
    """
    found = workers.decoded([item.decode for item in items], task.format)
    done: list[Decoded] = []
    held = 0
    for item, decoded in zip(items, found, strict=True):
        if held > most:
            break
        pixels = task.pixels(item, decoded)
        done.append((item, pixels))
        held += _bytes(pixels)
    return done, items[len(done) :]


def _bytes(pixels: Pixels | UnreadableImage) -> int:
    return 0 if isinstance(pixels, UnreadableImage) else pixels.nbytes
