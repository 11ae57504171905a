"""A limit on the amount of work that threads do at a time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class InFlight:
    """Lets pieces of work begin while their sum is at most a limit: ``with limit(amount): ...``.

    A piece of work that exceeds the limit waits until no other is running.
    """

    def __init__(self, most: int) -> None:
        self.most, self.used = most, 0
        self._changed = threading.Condition()

    @contextmanager
    def __call__(self, amount: int) -> Iterator[None]:
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
