"""Work in a thread of its own, watched step by step. Whoever stops watching stops the work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from queue import SimpleQueue
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")
Emit = Callable[[T], None]


class Stopped(Exception):
    """Nobody watches any more: the work ends."""


def watched(work: Callable[[Emit[T]], T]) -> Iterator[T]:
    """Yield the newest item that ``work(emit)`` emits, and at last what it returns.

    A slow reader misses all items but the newest. When the generator is closed, the next call of
    ``emit`` raises `Stopped` in the work, and the generator waits for the end of the thread. So the
    next work never runs beside this one.

    Args:
        work: It calls ``emit(item)`` as often as it likes, and returns the last item.

    Yields:
        Items, in their order.

    Raises:
        Exception: Whatever the work raises.
    """
    items: SimpleQueue[T] = SimpleQueue()
    ends: list[T | BaseException] = []
    stop, more = Event(), Event()

    def emit(item: T) -> None:
        if stop.is_set():
            raise Stopped
        items.put(item)
        more.set()

    def run() -> None:
        try:
            ends.append(work(emit))
        except BaseException as error:  # of whatever kind: the reader raises it
            ends.append(error)
        more.set()

    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        while not ends:
            more.wait()
            more.clear()
            newest: list[T] = []
            while not items.empty():
                newest = [items.get()]
            yield from newest
        if isinstance(ends[0], BaseException):
            raise ends[0]
        yield ends[0]
    finally:
        stop.set()
        thread.join()
