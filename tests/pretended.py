"""A pretended GPU: tensors on another device that record everything that waits for them.

The real computation is made on the CPU. The pretended device is torch's "lazy", which nothing else
uses, because autograd runs its backward passes in the caller's thread. A device made by open
registration would need threads that autograd starts only once in a process. An operation on tensors
of two devices raises `Mixed`, as a GPU would. Numbers on the CPU (tensors without axes) are
allowed, as there. Everything that would make the program wait for a GPU is recorded:

- a number, a truth value or a numpy array that is read from a tensor, or a tensor that is copied
from the GPU;

- a tensor copied to the GPU by anything but `devices.sent`;

- a result whose shape depends on the numbers: nonzero, unique, a mask as an index ...
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState, PartialState
from torch import Tensor
from torch.optim import optimizer
from torch.utils._foreach_utils import _get_fused_kernels_supported_devices
from torch.utils._python_dispatch import TorchDispatchMode

from mezzotint import devices

CPU, GPU = torch.device("cpu"), torch.device("lazy")
PACKAGE = str(Path(devices.__file__).parent)
aten = torch.ops.aten
READS = {
    aten._local_scalar_dense.default: "a number is read",
    aten.nonzero.default: "nonzero",
    aten.masked_select.default: "masked_select",
    aten.equal.default: "equal",
    aten._unique2.default: "unique",
    aten.unique_dim.default: "unique",
    aten.repeat_interleave.Tensor: "repeat_interleave",
}
COPIES = {aten._to_copy.default, aten.copy_.default, aten._foreach_copy_.default}
INDEXED = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default}


class Mixed(Exception):
    """Raised if an operation has tensors of two devices."""


class OnGPU(Tensor):
    """A tensor on the pretended GPU; ``inner`` is the tensor that computes."""

    inner: Tensor

    @staticmethod
    def __new__(cls, real: Tensor) -> OnGPU:
        with torch.inference_mode(False):  # in which views of ordinary tensors may be had
            made = Tensor._make_wrapper_subclass(
                cls,
                real.shape,
                strides=real.stride(),
                storage_offset=real.storage_offset(),
                dtype=real.dtype,
                device=GPU,
            )
        made.inner = real
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise Mixed(f"{func} on a tensor of the pretended GPU, outside of it")

    __torch_function__ = torch._C._disabled_torch_function_impl

    def __repr__(self, **_: Any) -> str:
        return f"OnGPU({self.inner})"

    def untyped_storage(self) -> torch.UntypedStorage:
        return self.inner.untyped_storage()

    def tolist(self) -> Any:
        return self.to("cpu").tolist()

    @property
    def data(self) -> Tensor:
        return self.detach()

    @data.setter
    def data(self, new: OnGPU) -> None:
        Tensor.data.__set__(self, new)  # type: ignore[attr-defined]
        self.inner = new.inner

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        made = self.detach().clone().requires_grad_(self.requires_grad)
        if isinstance(self, torch.nn.Parameter):
            made._is_param = True
        memo[id(self)] = made
        return made


class Generator(torch.Generator):
    """A generator that can claim to be on the pretended GPU."""

    def __new__(cls, device: Any = "cpu") -> Generator:
        made = super().__new__(cls)
        made.place = torch.device(device)
        return made

    @property
    def device(self) -> torch.device:
        return self.place


class PretendedGPU(TorchDispatchMode):
    """The operations on the pretended GPU; ``waits`` lists what waited for it, and where."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or torch would import its compiler, which takes seconds

    def __init__(self, float64: bool = True) -> None:
        super().__init__()
        self.waits: list[str] = []
        self.float64 = float64

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        flat = [*_leaves(args), *_leaves([*kwargs.values()])]
        there = [x for x in flat if isinstance(x, OnGPU)]
        wanted = kwargs.get("device")
        to_gpu = any(isinstance(x, torch.device) and x == GPU for x in flat)
        if not there and not to_gpu:
            return func(*args, **kwargs)
        if _composite(func):  # in inference mode operations come here that are made of others
            with self:
                return func.decompose(*args, **kwargs)
        if func in COPIES:
            self._copied(func, args, kwargs, to_gpu)
        else:
            self._together(func, flat)
        if func in READS:
            self._wait(READS[func])
        if func in INDEXED and any(x is not None and x.dtype == torch.bool for x in args[1]):
            self._wait("a mask as an index")
        args = _mapped(_inner, args)
        kwargs = {name: _mapped(_inner, value) for name, value in kwargs.items()}
        if wanted is not None:
            kwargs["device"] = CPU
        made = func(*args, **kwargs)
        if wanted is not None and not to_gpu:
            return made
        return self._given_back(func, flat, made)

    def _copied(self, func: Any, args: tuple[Any, ...], kwargs: Any, to_gpu: bool) -> None:
        if func == aten._to_copy.default:
            sources, on_gpu = [args[0]], to_gpu or kwargs.get("device") is None
        else:
            targets, sources = ([x] if isinstance(x, Tensor) else x for x in args[:2])
            on_gpu = isinstance(targets[0], OnGPU)
        for source in sources:
            if isinstance(source, OnGPU) != on_gpu:
                ahead = kwargs.get("non_blocking") or (len(args) > 2 and args[2])
                if not on_gpu:
                    self._wait("a copy from the GPU")
                elif not ahead and source.ndim:
                    self._wait("a copy to the GPU from ordinary memory")

    def _together(self, func: Any, flat: list[Any]) -> None:
        here = [x for x in flat if isinstance(x, Tensor) and not isinstance(x, OnGPU) and x.ndim]
        if here and any(isinstance(x, OnGPU) for x in flat):
            raise Mixed(f"{func} of tensors on the CPU and on the GPU, {_place()}")

    def _wait(self, why: str) -> None:
        self.waits.append(f"{why}, {_place()}")

    def _given_back(self, func: Any, flat: list[Any], made: Any) -> Any:
        """Return the results as tensors of the GPU; what was changed in place stays the same."""
        known = {id(x.inner): x for x in flat if isinstance(x, OnGPU)}

        def wrapped(x: Any) -> Any:
            if not isinstance(x, Tensor):
                return x
            if x.dtype == torch.float64 and not self.float64:
                raise Mixed(f"{func} makes float64, which this GPU has not, {_place()}")
            return known.get(id(x)) if id(x) in known else OnGPU(x)

        return _mapped(wrapped, made)


@cache
def _composite(func: Any) -> bool:
    name = func.name()
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(name, "CompositeImplicitAutograd"))


def _leaves(x: Any) -> Iterator[Any]:
    for each in x:
        if isinstance(each, list | tuple):
            yield from _leaves(each)
        else:
            yield each


def _mapped(change: Callable[[Any], Any], x: Any) -> Any:
    return type(x)(_mapped(change, each) for each in x) if type(x) in (list, tuple) else change(x)


def _inner(x: Any) -> Any:
    return x.inner if isinstance(x, OnGPU) else x


def _place() -> str:
    """Return the line of the package that called torch."""
    frame = sys._getframe(1)
    while frame:
        if frame.f_code.co_filename.startswith(PACKAGE):
            name = frame.f_code.co_filename[len(PACKAGE) + 1 :]
            return f"in {name}, line {frame.f_lineno}, {frame.f_code.co_name}"
        frame = frame.f_back  # type: ignore[assignment]
    return "in no line of the package"


@contextmanager
def pretended(float64: bool = True) -> Iterator[PretendedGPU]:
    """Run a block with a pretended GPU, which is also the default device."""
    with pytest.MonkeyPatch.context() as patch, PretendedGPU(float64) as there:
        patch.setitem(devices.COUNTS, GPU.type, lambda: 1)
        patch.setitem(devices._named, "device", GPU)
        patch.setattr(devices, "AHEAD", {GPU.type})
        patch.setattr(devices, "_locked", lambda x: x)
        patch.setattr(torch, "Generator", Generator)
        fused = [*_get_fused_kernels_supported_devices(), GPU.type]
        patch.setattr(optimizer, "_get_fused_kernels_supported_devices", lambda: fused)
        yield there
    for state in (AcceleratorState, PartialState):
        if "device" in state._shared_state:
            state._shared_state["device"] = CPU
