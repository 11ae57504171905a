"""Processes that decode image files. Threads would wait for each other in Pillow's Python code.

A worker is a fresh Python process that reads requests from its standard input. It imports neither
torch nor the user's script, which therefore needs no `if __name__ == "__main__"`. The worker
answers None for an image that it cannot decode, and the caller decodes that image itself. So all
errors arise in the caller. The worker ends when its input is closed, even if the caller is killed.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from subprocess import PIPE, Popen
from threading import Thread
from typing import Any, TypeAlias

from PIL import Image
from PIL import ImageFile as Pillow

from mezzotint.data import images
from mezzotint.data.images import ImageFile, Pixels, Wanted, quiet, read_image
from mezzotint.data.in_flight import InFlight
from mezzotint.errors import UserError
from mezzotint.processes import several

File: TypeAlias = tuple[Path | bytes, str]
"""The path or the bytes of an image file, and its name."""

_SERVE = """
import json, sys, types
sys.path[:] = json.loads(sys.argv[1])
data = types.ModuleType("mezzotint.data")  # the package itself would import torch
data.__path__ = [sys.argv[2]]
sys.modules["mezzotint.data"] = data
from mezzotint.data.workers import serve
serve()
"""
_BUFFER = 1 << 20  # bytes


class Workers:
    """Processes that decode image files for the threads of this process.

    Args:
        count: The number of processes.
        most: The limit on the bytes of the image files in one request, and on the bytes of the
            decoded images.
    """

    def __init__(self, count: int, most: int) -> None:
        self.count, self.most = count, most
        self.pixels = images.IN_FLIGHT.most // count
        self.all: list[Popen[bytes]] = []
        self._idle: SimpleQueue[Popen[bytes]] = SimpleQueue()

    def start(self) -> None:
        """Start the processes, without waiting until they are ready.

        This does nothing if they are already started or ``count`` is 1. It also does nothing in a
        frozen program, and under torchrun, because torchrun's processes share the processors.
        """
        if self.all or self.count == 1 or several() or not _python():
            return
        command = [sys.executable, "-c", _SERVE, json.dumps(sys.path), str(Path(__file__).parent)]
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # more would slow down the start
        settings = self.pixels, Image.MAX_IMAGE_PIXELS, Pillow.LOAD_TRUNCATED_IMAGES
        with suppress(OSError):  # the system refuses a process: fewer will do
            for _ in range(self.count):
                # A terminal sends Ctrl-C to a whole group of processes, so each has its own group.
                worker = Popen(command, stdin=PIPE, stdout=PIPE, env=environment, process_group=0)
                self.all.append(worker)
                _send(worker.stdin, settings)
                Thread(target=self._greet, args=(worker,), daemon=True).start()

    def decoded(
        self, decoders: Sequence[Callable[[Wanted], Pixels]], wanted: Wanted
    ) -> list[Pixels | None]:
        """Decode images in a worker, if any is ready; any thread may call this.

        Returns:
            A list with one entry for each decoder: its image, or None if the caller must call this
            decoder itself. The caller must do so if no worker is ready, the decoder is not an
            `ImageFile`, the file is faulty, the image is large, or the limit on bytes is reached.

        Raises:
            UserError: If the worker has ended, for example because it was killed.
        """
        try:
            worker = self._idle.get_nowait()
        except Empty:
            return [None] * len(decoders)
        files = list(_files(decoders, self.most))
        with images.IN_FLIGHT(self.pixels):
            try:
                _send(worker.stdin, (files, wanted, self.most))
                found = [_received(worker.stdout) for _ in files]
            except (OSError, EOFError, pickle.UnpicklingError):
                raise _died(worker) from None
        self._idle.put(worker)
        return found

    def end(self) -> None:
        """End the processes at once. Threads that wait for a process get an error."""
        for worker in self.all:
            worker.kill()
        for worker in self.all:
            with suppress(OSError), worker:  # closes the pipes, and waits
                pass

    def _greet(self, worker: Popen[bytes]) -> None:
        # The worker may end before it is ready, or `end` may close the pipe (ValueError).
        with suppress(OSError, EOFError, pickle.UnpicklingError, ValueError):
            _received(worker.stdout)
            self._idle.put(worker)


def _python() -> bool:
    """Return whether `sys.executable` is a Python interpreter, and not a frozen program."""
    return bool(sys.executable) and not getattr(sys, "frozen", False)


def serve() -> None:
    """Answer the requests of the parent process until this parent ends."""
    requests, replies = sys.stdin.buffer, open(os.dup(1), "wb", _BUFFER)  # noqa: SIM115
    os.dup2(2, 1)  # the replies must not be mixed with what libraries print
    with quiet(), suppress(OSError, EOFError):
        most_pixels, Image.MAX_IMAGE_PIXELS, Pillow.LOAD_TRUNCATED_IMAGES = _received(requests)
        images.IN_FLIGHT = InFlight(most_pixels, refuses=True)
        _send(replies, "ready")
        while True:
            files, wanted, most = _received(requests)
            held = 0
            for file in files:
                pixels = _attempt(file, wanted) if file and held <= most else None
                held += 0 if pixels is None else pixels.nbytes
                pickle.dump(pixels, replies, pickle.HIGHEST_PROTOCOL)
            replies.flush()
    os._exit(0)  # without an attempt to flush the replies to a caller that has gone


def _attempt(file: File, wanted: Wanted) -> Pixels | None:
    try:
        return read_image(*file, wanted)
    except Exception:  # the caller finds out which
        return None


def _files(decoders: Sequence[Callable[[Wanted], Pixels]], most: int) -> Iterator[File | None]:
    """Yield the `File` of each decoder.

    It yields None for a decoder that is not an `ImageFile`, for a file that cannot be read, and for
    every decoder after more than ``most`` bytes have been read.
    """
    held = 0
    for decode in decoders:
        file = None
        if isinstance(decode, ImageFile) and held <= most:
            with suppress(UserError, OSError):
                file = decode.read(), decode.name
                held += len(file[0]) if isinstance(file[0], bytes) else 0
        yield file


def _send(pipe: Any, message: object) -> None:
    pickle.dump(message, pipe, pickle.HIGHEST_PROTOCOL)
    pipe.flush()


def _received(pipe: Any) -> Any:
    return pickle.load(pipe)


def _died(worker: Popen[bytes]) -> UserError:
    code = worker.wait()
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    return UserError(
        f"a process that decoded images {how}, perhaps for lack of memory: free memory, and try "
        "again"
    )
