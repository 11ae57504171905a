"""Report progress on the error stream when a command has printed nothing for a while."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any, TextIO

from mezzotint.drawing.bars import UNDER_WAY, time_in_words
from mezzotint.errors import printable
from mezzotint.processes import first

# A report comes after SILENCE seconds without output. If the error stream is not a terminal, it
# comes after LATER seconds once the command has run for LONG seconds.
SILENCE, LATER, LONG = 9.0, 60.0, 600.0
TICK = 0.5


class Heard:
    """A stream that records the time of the last write.

    If ``plain`` is set, control characters other than line feeds and tabs are escaped, because
    names of files and classes may contain them. Progress bars move the cursor by control
    characters, so they need a stream that is not plain.
    """

    def __init__(self, stream: TextIO, patience: Patience, *, plain: bool) -> None:
        self.stream, self._patience, self._plain = stream, patience, plain

    def write(self, text: str) -> int:
        self._patience.heard = time.monotonic()
        if self._plain:
            text = "".join(map(_text, text.splitlines(keepends=True)))
        return self.stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _text(line: str) -> str:
    end = "\n" if line.endswith("\n") else ""
    return "\t".join(map(printable, line.removesuffix("\n").split("\t"))) + end


class Patience:
    """Prints what a command is doing if the command has printed nothing for about ten seconds.

    If the error stream is not a terminal, the ten seconds become a minute once the command has run
    for ten minutes. The printed text is that of the newest progress bar, even if the bar is hidden.
    Nothing is added while a server waits for visitors, or while a bar is visible on a terminal;
    such a bar prints all the time. If there are several processes, only the first process prints.

    Args:
        verb: The text to print until the first bar begins.
    """

    def __init__(self, verb: str) -> None:
        self.verb, self.heard = verb, time.monotonic()
        self.began, self.done = self.heard, threading.Event()
        self.before = sys.stdout, sys.stderr
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Patience:
        if first():
            UNDER_WAY.clear()
            out, err = self.before
            streams: Any = Heard(out, self, plain=True), Heard(err, self, plain=False)
            sys.stdout, sys.stderr = streams
            self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        if first():
            self.thread.join()
            sys.stdout, sys.stderr = self.before

    def _watch(self) -> None:
        while not self.done.wait(TICK):
            now = time.monotonic()
            far = now - self.began > LONG and not self.before[1].isatty()
            if now - self.heard >= (LATER if far else SILENCE):
                self.heard = now
                what = UNDER_WAY.get("what", self.verb)
                if not what:  # a server waits for its visitors
                    continue
                print(
                    f"{time_in_words(now - self.began)}: {printable(what)}",
                    file=self.before[1],
                    flush=True,
                )
