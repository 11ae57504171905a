"""The processes of torchrun: how they join, share work, and end together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from mezzotint.errors import Damaged, UserError

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator, PartialState

PATIENCE = timedelta(hours=6)
"""How long processes wait for each other, for example while the first prepares data."""
NO_NETWORK = ("no socket interface found", "unable to find address for")  # NCCL's and gloo's
"""Parts of an error message, in lower case, that mean: there is no network between processes."""
GONE = ("connection closed by peer", "connection reset by peer", "broken pipe", "gloo", "nccl")
"""Parts of torch's error message, in lower case, that mean: another process does not answer."""
REPLY = timedelta(seconds=2)  # how long to wait for the key-value store of the processes


class Died(UserError):
    """Raised if another of the processes has died."""


def first() -> bool:
    """Return whether this is the first process, which prints for all processes."""
    return os.environ.get("RANK", "0") == "0"


def several() -> bool:
    """Return whether this is one of several processes."""
    return os.environ.get("WORLD_SIZE", "1") != "1"


@dataclass(frozen=True)
class Share:
    """The place of this process among all processes, and functions to coordinate with the others.

    There are ``count`` processes. ``number`` is the index of this process among all of them,
    and ``local`` is its index among the processes of its machine. ``wait()`` waits for the other
    processes. ``announced(value)`` returns, in every process, the value that the first process
    gave.
    """

    number: int = 0
    count: int = 1
    wait: Callable[[], None] = lambda: None
    announced: Callable[[Any], Any] = lambda value: value
    local: int = 0

    @contextmanager
    def first(self) -> Iterator[None]:
        """Let the first process run a block before all others, so that they find its results.

        If the first process raises UserError, all other processes raise the same error without
        running the block. Otherwise the first process of each other machine runs the block next,
        because the machines need not share their files. Then all other processes run it. All
        processes leave the block together.
        """
        error: UserError | None = None
        if not self.number:
            try:
                yield
            except UserError as found:
                error = found
        failed, damaged = self.announced((error and str(error), isinstance(error, Damaged)))
        if failed is not None:
            error = error or (Damaged if damaged else UserError)(failed)
            error.elsewhere = bool(self.number)
            raise error
        for turn in (1, 2):
            if self.number and turn == (2 if self.local else 1):
                yield
            self.wait()

    def part(self, pieces: int) -> range:
        """Return the indices in ``range(pieces)`` of the work items that this process handles."""
        start, end = (-(-pieces * i // self.count) for i in (self.number, self.number + 1))
        return range(start, end)


ALONE = Share()
"""The share of a process that works alone: all of the work."""


def share_of(state: Accelerator | PartialState) -> Share:
    """Return this process's share of the work, according to accelerate's state."""

    def wait() -> None:
        with watched(state.num_processes):
            state.wait_for_everyone()

    def announced(value: Any) -> Any:
        if state.num_processes == 1:
            return value
        import torch.distributed

        values = [value]
        with watched(state.num_processes):
            torch.distributed.broadcast_object_list(values, device=state.device)
        return values[0]

    local = state.local_process_index
    return Share(state.process_index, state.num_processes, wait, announced, local)


def join() -> tuple[Share, torch.device]:
    """Join the other processes; return the `Share` of the work and the device of this process."""
    import torch

    from mezzotint import devices

    if not several() and not torch.distributed.is_initialized():
        return ALONE, devices.default()
    from accelerate import PartialState  # imported here, because it takes a second

    with connected():
        state = PartialState(cpu=devices.without_gpu(several()), timeout=PATIENCE)
    devices.place(state)
    return share_of(state), state.device


def alone(what: str) -> torch.device:
    """Return the device of this process, which must be the only process.

    Raises UserError if there are several; ``what`` names the work in the message ("a sweep").
    """
    share, device = join()
    if share.count > 1:
        raise single(what)
    return device


def single(what: str) -> UserError:
    """Return the UserError for work that several processes cannot share; ``what`` names it."""
    return UserError(f"{what} runs in a single process: start it without torchrun")


@contextmanager
def connected() -> Iterator[None]:
    """Run a block in which a missing network interface raises UserError."""
    try:
        yield
    except RuntimeError as error:
        if not any(words in str(error).lower() for words in NO_NETWORK):
            raise
        raise UserError(
            "the processes find no network interface to communicate through: set "
            "NCCL_SOCKET_IFNAME (for GPUs) and GLOO_SOCKET_IFNAME to the name of an interface, "
            "such as lo on a single machine"
        ) from None


@contextmanager
def watched(count: int) -> Iterator[None]:
    """Run a block of code, and raise `Died` if another of the ``count`` processes has died.

    A missing network interface raises UserError, as in `connected`.
    """
    try:
        with connected():
            yield
    except RuntimeError as error:
        said = str(error).lower()
        if count == 1 or not any(words in said for words in GONE):
            raise
        raise Died("another of the processes has died: start all of them again") from None


def speaks() -> bool:
    """Return whether this process should report its failure.

    Only the first process that fails should report it. The processes count their failures in
    torchrun's key-value store, which outlives single processes. If the store does not answer, every
    process reports its failure.
    """
    if not several():
        return True
    from torch.distributed import TCPStore  # type: ignore[attr-defined]  # it is documented

    place = os.environ.get("MASTER_ADDR", ""), int(os.environ.get("MASTER_PORT", "0"))
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    try:
        store = TCPStore(*place, is_master=False, timeout=REPLY)
        return bool(store.add(f"mezzotint/failed/{attempt}", 1) == 1)
    except (RuntimeError, ValueError):
        return True
