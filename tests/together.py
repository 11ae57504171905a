"""Run several processes that share a training, as torchrun would, as forks of this process."""

from __future__ import annotations

import os
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch._dynamo  # noqa: F401 - which takes seconds, of every child that does not find it
from accelerate.state import AcceleratorState, PartialState

from mezzotint.errors import Interrupted, UserError

PATIENCE = 120  # seconds until a process that hangs is killed


def together(count: int, work: Callable[[int], None], log: Path) -> list[int]:
    """Run ``work(rank)`` in each of ``count`` processes; return how they ended.

    The result of a process is 0, 2 for a UserError, 128 plus the number of a signal that was
    caught, 1 for another exception, and minus the number of a signal that killed it. Errors and
    printed lines are written to ``log``.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(count):
        if not (child := os.fork()):
            os._exit(_child(rank, count, port, work, log))
        children.append(child)
    return [_ended(child) for child in children]


def _child(rank: int, count: int, port: int, work: Callable[[int], None], log: Path) -> int:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    for state in (AcceleratorState, PartialState):  # what the tests before have left
        state._shared_state.clear()
    code = 0
    with log.open("a") as file:
        sys.stdout = sys.stderr = file
        try:
            work(rank)
        except UserError as error:
            print(f"{rank}: {error}", file=file)
            code = 2
        except Interrupted as stop:
            print(f"{rank}: {stop}", file=file)
            code = 128 + stop.number
        except SystemExit as end:  # of a command
            code = int(end.code or 0)
        except BaseException:
            traceback.print_exc(file=file)
            code = 1
    return code


def _ended(child: int) -> int:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    with suppress(ProcessLookupError):
        os.kill(child, 9)
    os.waitpid(child, 0)
    return -999
