"""End a training cleanly on a signal."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING, Any

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
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.caught = 0
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        def note(number: int, frame: FrameType | None) -> None:
            self.caught = number

        if threading.current_thread() is not threading.main_thread():
            return self  # only the main thread may handle signals
        for number in SIGNALS:
            if number != signal.SIGINT and signal.getsignal(number) == signal.SIG_IGN:
                continue
            self.before[number] = signal.signal(number, note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def number(self) -> int:
        """Return the number of a signal that any process has caught, or 0.

        All processes must call this at the same step.
        """
        if self.accelerator.num_processes == 1:
            return self.caught
        return greatest(self.caught)
