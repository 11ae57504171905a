"""The processes that share a training: how they join, and part at the end."""

from __future__ import annotations

import atexit
from functools import cache
from typing import TYPE_CHECKING

import torch

from mezzotint.processes import PATIENCE

if TYPE_CHECKING:
    from accelerate import Accelerator


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
            InitProcessGroupKwargs(timeout=PATIENCE),
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
