"""Everything that depends on the kind of device: a CPU, an NVIDIA GPU (cuda), an Apple GPU (mps).

No other module distinguishes kinds of devices. A program runs ahead of a GPU: it queues work and
continues. Reading a number from the GPU, or copying ordinary memory to it, waits until all queued
work is done. So loops read nothing from the GPU, and copy to it with `sent`.
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
"""The kinds of devices to which page-locked memory can be copied without waiting."""
_named: dict[str, torch.device] = {}  # the device that `use_device` chose, as "device"


def gpu() -> bool:
    """Return whether there is an NVIDIA GPU. If so, everything runs on it by default."""
    return COUNTS["cuda"]() > 0


def default() -> torch.device:
    """Return the device that `use_device` chose.

    If it was not called, return the NVIDIA GPU if there is one, else the CPU. An Apple GPU is never
    chosen by default, because nobody has measured whether its samples are right.
    """
    return _named.get("device") or torch.device("cuda" if gpu() else "cpu")


def use_device(device: str | torch.device) -> None:
    """Choose the device on which this process does everything from now on.

    Models that are already loaded stay on the device that they are on.

    ```python
    mz.use_device("cuda:1")
    pipe = mz.load("cifar10")
    ```

    Args:
        device: ``cpu``, ``cuda``, ``cuda:1`` ... (NVIDIA), or ``mps`` (Apple), which cannot train.
            Under torchrun, give ``cpu`` or ``cuda`` without a number. With ``cuda``, each process
            has a GPU of its own.

    Raises:
        UserError: If there is no such device.
    """
    found = chosen(device)
    if found.type == "cuda" and found.index is not None:
        torch.cuda.set_device(found)
    _named["device"] = found


def without_gpu(several: bool) -> bool:
    """Return whether accelerate must not use a GPU.

    ``several`` says whether there are several processes. If so, each process needs its own device,
    and UserError is raised if `use_device` chose a device by its number, such as ``cuda:1``.
    """
    found = default()
    if several and found.index is not None:
        raise UserError(
            f"`device` is {found}, but there are several processes, each with its own device: "
            f"choose {found.type} without a number"
        )
    return found.type == "cpu" if several else not gpu()


def place(state: Any) -> None:
    """Make accelerate use the default device, by setting it in accelerate's state.

    With several processes nothing is changed, because each process already has its own device.
    """
    if state.num_processes == 1:
        state.device = default()


def check_training() -> None:
    """Raise UserError if the default device is an Apple GPU: training needs float64."""
    if default().type == "mps":
        raise UserError(
            'training needs float64, which Apple\'s GPU lacks: choose `device="cpu"` to train'
        )


def chosen(device: str | torch.device | None) -> torch.device:
    """Return the device with a given name; None means the default device.

    Raises UserError if there is no such device.
    """
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
        raise UserError(
            f"torch finds no {found.type} device on this machine: choose another device"
        )
    if (found.index or 0) >= count:
        raise UserError(
            f"there is no device {found}: this machine has {counted(count, found.type + ' device')}"
            f", numbered from {found.type}:0"
        )
    return found


def on_cpu(x: Tensor) -> bool:
    """Return whether a tensor is on a CPU, for which some layers have a faster implementation."""
    return x.device.type == "cpu"


def on_gpu(x: Tensor) -> bool:
    """Return whether a tensor is on an NVIDIA GPU."""
    return x.device.type == "cuda"


def sent(x: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device, without waiting for the device if that is possible.

    A copy to an NVIDIA GPU need not wait: the tensor is first copied to page-locked memory, which
    torch does not use again until the GPU has read it.
    """
    if device.type not in AHEAD or not on_cpu(x):
        return x.to(device)
    return _locked(x).to(device, non_blocking=True)


def _locked(x: Tensor) -> Tensor:
    """Return a copy of a tensor in page-locked memory."""
    return x.pin_memory()


def has_fast_bf16(device: torch.device) -> bool:
    """Return whether a device's hardware computes in bfloat16; emulation does not count."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())


def has_bf16(device: torch.device) -> bool:
    """Return whether networks should be allowed to compute in bfloat16 on a device.

    Every CPU is allowed, because a CPU without hardware for bfloat16 emulates it exactly. An NVIDIA
    GPU without such hardware is not allowed, because its emulation is slower than float32. An Apple
    GPU is allowed from macOS 14 on.
    """
    if device.type == "mps":
        return bool(torch.backends.mps.is_macos_or_newer(14, 0))
    return device.type == "cpu" or has_fast_bf16(device)


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[Any]:
    """Return a context in which networks compute in ``dtype``; float32 turns autocast off."""
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


@contextmanager
def exact() -> Iterator[None]:
    """Run a block in which convolutions of float32 tensors are computed in float32.

    By default GPUs round the inputs of convolutions to a mantissa of 10 bits (TF32). They do not
    round the inputs of matrix products.
    """
    now = torch.backends.cudnn
    kept = now.enabled, now.benchmark, now.benchmark_limit, now.deterministic
    with now.flags(*kept, allow_tf32=False):
        yield


def in_full(dtype: torch.dtype) -> AbstractContextManager[Any]:
    """Return the context `exact` if ``dtype`` is float32, else a context that does nothing."""
    return exact() if dtype == torch.float32 else nullcontext()


def forked(device: torch.device) -> AbstractContextManager[Any]:
    """Return a context that restores torch's global random generators at its end."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


@contextmanager
def loading() -> Iterator[None]:
    """Return a context in which to make networks whose weights are then read from a file.

    The networks are in float32, whatever torch's default type is. Their initial weights are
    random, but torch's random generator is restored at the end.
    """
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.random.fork_rng([]):
            yield
    finally:
        torch.set_default_dtype(default)


def mesh(device: torch.device) -> DeviceMesh:
    """Return a one-dimensional mesh of the devices of all processes.

    All devices are of the kind of ``device``.
    """
    from torch.distributed.device_mesh import init_device_mesh

    return init_device_mesh(device.type, (torch.distributed.get_world_size(),))


def finish() -> None:
    """Wait until the GPU has done all queued work, so that a measured time includes it."""
    if gpu():
        torch.cuda.synchronize()


def gpu_name() -> str | None:
    """Return the name of the NVIDIA GPU; None if there is none."""
    return torch.cuda.get_device_name() if gpu() else None


def begin_peak() -> None:
    """Start to record the peak memory of the tensors on the GPU, for `peak_mib`."""
    torch.cuda.reset_peak_memory_stats()


def peak_mib() -> float:
    """Return the peak memory of the tensors on the GPU since `begin_peak`, in MiB."""
    return float(torch.cuda.max_memory_allocated()) / 2**20
