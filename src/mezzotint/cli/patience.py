"""No silence: a line on the error stream where nothing was written for a while."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any, TextIO

from mezzotint.drawing.bars import FIRST, UNDER_WAY
from mezzotint.storage.progress import in_words

SILENCE, LATER, LONG = 9.0, 60.0, 600.0  # seconds; after ten minutes without a terminal, a minute
TICK = 0.5


class Heard:
    """A stream that notes when something was last written to it."""

    def __init__(self, stream: TextIO, patience: Patience) -> None:
        self._stream, self._patience = stream, patience

    def write(self, text: str) -> int:
        self._patience.heard = time.monotonic()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Patience:
    """Says what is under way where the streams have been silent for ten seconds.

    A bar on a terminal writes all the time, and needs no such line. The words are those of the last
    bar, shown or not. Of several processes the first speaks for all.

    Args:
        verb: What is said where there has been no bar yet.
    """

    def __init__(self, verb: str) -> None:
        self.verb, self.heard = verb, time.monotonic()
        self.began, self.done = self.heard, threading.Event()
        self.before = sys.stdout, sys.stderr
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Patience:
        if FIRST:
            UNDER_WAY.clear()
            streams: Any = [Heard(stream, self) for stream in self.before]
            sys.stdout, sys.stderr = streams
            self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        if FIRST:
            self.thread.join()
            sys.stdout, sys.stderr = self.before

    def _watch(self) -> None:
        while not self.done.wait(TICK):
            now = time.monotonic()
            far = now - self.began > LONG and not self.before[1].isatty()
            if now - self.heard >= (LATER if far else SILENCE):
                self.heard = now
                what = UNDER_WAY.get("what", self.verb)
                print(f"{in_words(now - self.began)}: {what}", file=self.before[1], flush=True)
