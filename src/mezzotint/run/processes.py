"""The processes of torchrun: how they join, and detect that another process has died."""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING

import torch

from mezzotint.errors import UserError

if TYPE_CHECKING:
    from accelerate import Accelerator

GONE = ("connection closed by peer", "connection reset by peer", "broken pipe", "gloo", "nccl")
"""What an error says, in small letters, when another process does not answer."""


class Died(UserError):
    """Raised if another process of this training has died."""


def joined() -> Accelerator:
    """Join the processes that share a training, and return this one's accelerator.

    The processes stay joined until they end, so they can train several times.
    """
    from accelerate import (  # imported late: takes a second
        Accelerator,
        DistributedDataParallelKwargs,
        InitProcessGroupKwargs,
    )

    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),
        mixed_precision="no",  # the loop does that itself
        kwargs_handlers=[
            # The other processes wait while the first prepares the data and draws the grids.
            InitProcessGroupKwargs(timeout=timedelta(hours=6)),
            # It keeps the gradients in one order in all steps. Without, their order changes after
            # the first step of each process, and with it the rounding of their sums: a resumed
            # training would not end in the bits of an uninterrupted one.
            DistributedDataParallelKwargs(find_unused_parameters=True),
        ],
    )
    if accelerator.num_processes > 1:
        _part_at_exit()
    return accelerator


@cache
def _part_at_exit() -> None:
    """Register, only once, that this process leaves the group when it ends."""

    def part() -> None:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()

    atexit.register(part)


@contextmanager
def watched(accelerator: Accelerator) -> Iterator[None]:
    """Run a block in which the death of another process raises `Died`."""
    try:
        yield
    except RuntimeError as error:
        said = str(error).lower()
        if accelerator.num_processes == 1 or not any(words in said for words in GONE):
            raise
        raise Died("another process of this training has died: start it again") from None
