"""A limit on the amount of work that threads do at a time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class InFlight:
    """Makes threads wait, so that the amounts of work in progress add up to at most ``most``.

    A block ``with limit(amount): ...`` waits until its amount and the amounts of the running blocks
    together do not exceed the limit. A block whose own amount exceeds the limit waits until no
    other block is running; if ``refuses`` is set, it raises MemoryError instead.
    """

    def __init__(self, most: int, *, refuses: bool = False) -> None:
        self.most, self.refuses, self.used = most, refuses, 0
        self._changed = threading.Condition()

    @contextmanager
    def __call__(self, amount: int) -> Iterator[None]:
        if self.refuses and amount > self.most:
            raise MemoryError
        amount = min(amount, self.most)
        with self._changed:
            self._changed.wait_for(lambda: self.used + amount <= self.most)
            self.used += amount
        try:
            yield
        finally:
            with self._changed:
                self.used -= amount
                self._changed.notify_all()
