"""Run work in a thread, and yield what it emits. Closing the generator stops the work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from queue import SimpleQueue
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")
Emit = Callable[[T], None]


class Stopped(Exception):
    """Raised by ``emit``, inside the work, when nobody reads the emitted items any more."""


def watched(work: Callable[[Emit[T]], T]) -> Iterator[T]:
    """Run ``work(emit)`` in a thread; yield the items that it emits, and at last its result.

    If the reader is slow, only the newest item is kept for it. When the generator is closed, the
    next call of ``emit`` raises `Stopped` in the work, and the generator waits until the thread
    ends. So two pieces of work never run at the same time.

    Args:
        work: A function that calls ``emit(item)`` any number of times, and returns the last item.

    Yields:
        The items, in order.

    Raises:
        Exception: Any exception that the work raises.
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
        except BaseException as error:  # raised again in the reader's thread
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
