"""The processes that share a training: how they form a group, and leave it at the end."""

from __future__ import annotations

import atexit
from functools import cache
from typing import TYPE_CHECKING

import torch

from mezzotint import devices
from mezzotint.errors import UserError
from mezzotint.processes import PATIENCE, connected, several

if TYPE_CHECKING:
    from accelerate import Accelerator


def joined(own: bool = False) -> Accelerator:
    """Join the processes that share a training, and return the accelerator of this process.

    The processes stay in one group until they end, so they can train several times. ``own`` says
    whether the network is a user's own: such a network may leave weights unused. Raises UserError
    if mezzotint cannot train on the device.
    """
    devices.check_training()
    from accelerate import (  # imported late, because it takes a second
        Accelerator,
        DistributedDataParallelKwargs,
        InitProcessGroupKwargs,
    )

    without_gpu = devices.without_gpu(several())
    handlers = [
        # The other processes wait while the first prepares the data and draws the grids.
        InitProcessGroupKwargs(timeout=PATIENCE),
        # On a CPU, find_unused_parameters keeps the gradients in one order in all steps. Without
        # it, their order changes after the first step of each process, and so does the rounding of
        # their sums: a resumed training would not end in the same bits as an uninterrupted
        # training. On a GPU the bits may differ anyway, so the option is off there, which saves
        # time and a message.
        DistributedDataParallelKwargs(find_unused_parameters=own or without_gpu),
    ]
    with connected():
        accelerator = Accelerator(
            cpu=without_gpu,
            mixed_precision="no",  # the training loop chooses the precision itself
            kwargs_handlers=handlers,
        )
    devices.place(accelerator.state)
    if accelerator.num_processes > 1:
        _part_at_exit()
    return accelerator


def greatest(number: int) -> int:
    """Return the greatest of the numbers that all processes pass to this function.

    The processes wait for each other, but no process waits for its own GPU.
    """
    found = torch.tensor([number])
    torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MAX, _beside_the_gpus())
    return int(found)


@cache
def _beside_the_gpus() -> torch.distributed.ProcessGroup | None:
    """Return the process group for tensors on the CPU; None means the default group."""
    if torch.distributed.get_backend() == "gloo":
        return None
    made: torch.distributed.ProcessGroup | None = torch.distributed.new_group(
        backend="gloo", timeout=PATIENCE
    )
    return made


def check_alike(step: int) -> None:
    """Raise UserError unless all processes begin at the same step.

    On several machines, each machine may have its own run folder, with different checkpoints.
    """
    if greatest(step) != -greatest(-step):
        raise UserError(
            f"this process begins at step {step}, but others begin at another step: put the run's "
            "folder on a disk that all machines share"
        )


@cache
def _part_at_exit() -> None:
    """Make this process leave the process group when it ends; only the first call has an effect."""

    def part() -> None:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()

    atexit.register(part)
