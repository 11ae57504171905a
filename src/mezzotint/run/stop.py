"""End a training cleanly on a signal."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar

from mezzotint.run.group import greatest

if TYPE_CHECKING:
    from accelerate import Accelerator


SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


class Stop:
    """A context in which a signal does not end the process, but is only recorded.

    The signals are SIGINT, SIGTERM and SIGHUP. The method `number` returns the recorded signal,
    the same in all processes. If SIGHUP or SIGTERM is ignored at the start, as SIGHUP is under
    nohup, it stays ignored.

    Several trainings may be in progress at once, and may end in any order. A signal is recorded for
    all of them, and the handlers are restored when the last of them ends.
    """

    active: ClassVar[list[Stop]] = []
    before: ClassVar[dict[int, Any]] = {}  # the handlers to restore

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.caught = 0

    def __enter__(self) -> Stop:
        if threading.current_thread() is not threading.main_thread():
            return self  # only the main thread may handle signals
        for number in () if self.active else SIGNALS:
            if number != signal.SIGINT and signal.getsignal(number) == signal.SIG_IGN:
                continue
            self.before[number] = signal.signal(number, _note)
        self.active.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self not in self.active:
            return
        self.active.remove(self)
        while self.before and not self.active:
            signal.signal(*self.before.popitem())

    def number(self) -> int:
        """Return the number of a signal that any process has caught, or 0.

        All processes must call this at the same step.
        """
        if self.accelerator.num_processes == 1:
            return self.caught
        return greatest(self.caught)


def _note(number: int, frame: FrameType | None) -> None:
    for stop in Stop.active:
        stop.caught = number
