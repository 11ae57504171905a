"""Everything that is chosen by the kind of device: a CPU, an NVIDIA GPU (cuda), or Apple's (mps).

No other module asks what kind a device is. On a GPU the program runs ahead of the device; reading a
number from it, or copying to it from ordinary memory, waits until the device has done everything
before. So loops read nothing from the device, and copy to it with `sent`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mezzotint.errors import UserError, counted

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

COUNTS: dict[str, Callable[[], int]] = {
    "cpu": lambda: 1,
    "cuda": torch.cuda.device_count,
    "mps": lambda: int(torch.backends.mps.is_available()),
}
"""The kinds of devices, and how many of each there are."""
AHEAD = {"cuda"}
"""Kinds to which copies from page-locked memory do not wait."""
_named: dict[str, torch.device] = {}  # of `use_device`


def gpu() -> bool:
    """Return whether there is an NVIDIA GPU, on which everything then runs by default."""
    return COUNTS["cuda"]() > 0


def default() -> torch.device:
    """Return the device of `use_device`; by default an NVIDIA GPU if there is one, else the CPU.

    Apple's GPU must be named, because nobody has measured whether its samples are right.
    """
    return _named.get("device") or torch.device("cuda" if gpu() else "cpu")


def use_device(device: str | torch.device) -> None:
    """Choose the device of all that follows in this process.

    Models that are loaded already stay where they are.

    ```python
    mz.use_device("cuda:1")
    pipe = mz.load("cifar10")
    ```

    Args:
        device: ``cpu``, ``cuda``, ``cuda:1`` ... (NVIDIA), or ``mps`` (Apple), which cannot train.
            Under torchrun, ``cpu`` or ``cuda``: each process then has a GPU of its own.

    Raises:
        UserError: If there is no such device.
    """
    found = chosen(device)
    if found.type == "cuda" and found.index is not None:
        torch.cuda.set_device(found)
    _named["device"] = found


def without_gpu(several: bool) -> bool:
    """Return whether accelerate must not use a GPU, given whether there are several processes.

    Raises UserError if several processes would share the GPU that was chosen by its number.
    """
    found = default()
    if several and found.index is not None:
        raise UserError(
            f"`device` is {found}, but each of several processes has a device of its own: choose "
            f"{found.type}"
        )
    return found.type == "cpu" if several else not gpu()


def place(state: Any) -> None:
    """Let accelerate's state name the default device; several processes have one each already."""
    if state.num_processes == 1:
        state.device = default()


def check_training() -> None:
    """Raise UserError unless the default device can train, which needs tables of float64."""
    if default().type == "mps":
        raise UserError(
            'training needs float64, which Apple\'s GPU lacks: choose `device="cpu"` to train'
        )


def chosen(device: str | torch.device | None) -> torch.device:
    """Return a device by name; None is the default one. Raises UserError if it is not there."""
    if device is None:
        return default()
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        found = None
    if found is None or found.type not in COUNTS:
        raise UserError(f"`device` is {str(device)!r}: choose cpu, cuda, cuda:0, cuda:1 ... or mps")
    count = COUNTS[found.type]()
    if not count:
        raise UserError(f"there is no {found.type} device for this build of torch: choose another")
    if (found.index or 0) >= count:
        raise UserError(
            f"there is no device {found}: this machine has {counted(count, found.type + ' device')}"
            f", numbered from {found.type}:0"
        )
    return found


def on_cpu(x: Tensor) -> bool:
    """Return whether a tensor is on a CPU, where some layers have faster forms of their own."""
    return x.device.type == "cpu"


def on_gpu(x: Tensor) -> bool:
    """Return whether a tensor is on an NVIDIA GPU."""
    return x.device.type == "cuda"


def sent(x: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device, without waiting for the device if that is possible.

    The memory is page-locked first. It is not used again until the copy is made.
    """
    if device.type not in AHEAD or not on_cpu(x):
        return x.to(device)
    return _locked(x).to(device, non_blocking=True)


def _locked(x: Tensor) -> Tensor:
    return x.pin_memory()


def has_fast_bf16(device: torch.device) -> bool:
    """Return whether the hardware itself computes in bfloat16; emulation does not count."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())


def has_bf16(device: torch.device) -> bool:
    """Return whether networks can compute in bfloat16 there.

    A CPU emulates it exactly. A GPU that has to emulate it is slower than in float32.
    """
    if device.type == "mps":
        return bool(torch.backends.mps.is_macos_or_newer(14, 0))
    return device.type == "cpu" or has_fast_bf16(device)


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[Any]:
    """Return the context in which networks compute in ``dtype``; float32 turns autocast off."""
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


@contextmanager
def exact() -> Iterator[None]:
    """Run a block in which convolutions of float32 are computed in float32.

    By default GPUs round their inputs to 10 bits (TF32). Matrix products are exact by default.
    """
    now = torch.backends.cudnn
    kept = now.enabled, now.benchmark, now.benchmark_limit, now.deterministic
    with now.flags(*kept, allow_tf32=False):
        yield


def in_full(dtype: torch.dtype) -> AbstractContextManager[Any]:
    """Return the context for computations in ``dtype``: `exact` for float32."""
    return exact() if dtype == torch.float32 else nullcontext()


def forked(device: torch.device) -> AbstractContextManager[Any]:
    """Return a context at whose end the global generators are as they were."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


def mesh(device: torch.device) -> DeviceMesh:
    """Return the devices of all processes, which are of one kind, in a row."""
    from torch.distributed.device_mesh import init_device_mesh

    return init_device_mesh(device.type, (torch.distributed.get_world_size(),))


def finish() -> None:
    """Wait until the GPU has done everything, so that a clock can be read."""
    if gpu():
        torch.cuda.synchronize()


def gpu_name() -> str | None:
    """Return the name of the GPU; None without one."""
    return torch.cuda.get_device_name() if gpu() else None


def begin_peak() -> None:
    """Begin to measure the greatest memory of tensors on the GPU."""
    torch.cuda.reset_peak_memory_stats()


def peak_mib() -> float:
    """Return the greatest memory of tensors on the GPU since `begin_peak`, in MiB."""
    return float(torch.cuda.max_memory_allocated()) / 2**20
