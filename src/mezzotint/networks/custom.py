"""A network of the user's own: any nn.Module ``forward(x, t, condition)``, or a plain function."""

from __future__ import annotations

import copy
import hashlib
import inspect
import secrets
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mezzotint.errors import UserError
from mezzotint.networks.network import Network
from mezzotint.networks.passing import copied, passed
from mezzotint.networks.record import CustomConfig, name


class Custom(Network):
    """``net(x, t, labels) -> output``, by ``module(x, t, condition)``, a module of the user's own.

    x and the output are (B, C, H, W), t (B,) float, labels (B,) int64 or None. Of ``classes`` K > 0
    the condition is (B,) int64 of 0 to K, K being the null class, which labels None means too; of
    none it is None. The weights have the names that the module gives them.
    """

    def __init__(self, module: nn.Module, config: CustomConfig, classes: int = 0) -> None:
        super().__init__()
        self.module, self.config, self.classes = module, config, classes
        self.low: torch.dtype | None = None  # what it computes in by autocast
        self.token = "" if config.code else secrets.token_hex(16)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.classes and labels is None:
            labels = torch.full((len(t),), self.classes, device=t.device)
        elif not self.classes and labels is not None:
            raise UserError("this network is unconditional: it takes no labels")
        with torch.autocast(x.device.type, self.low) if self.low else nullcontext():
            output = self.module(x, t, labels)
        if not isinstance(output, Tensor):
            raise UserError(f"`net` returns a {type(output).__name__}: make it return a tensor")
        return output.to(x.dtype)

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in, outside autocast: float32, or what `for_inference` was given."""
        return self.low or torch.float32

    @property
    def device(self) -> torch.device:
        """Where its weights are; the CPU without any."""
        found = next(chain(self.parameters(), self.buffers()), None)
        return torch.device("cpu") if found is None else found.device

    @property
    def digest(self) -> str:
        """As `Network.digest`; of a function, which nothing is known of, another each time."""
        told = f"{super().digest} {self.low} {self.classes} {self.token}"
        return hashlib.sha256(told.encode()).hexdigest()

    def compile_for(self, calls: int) -> bool:
        """Compile nothing: whether that can be done is for the user to know."""
        return False

    def for_inference(self, dtype: torch.dtype) -> Custom:
        """Return a copy to sample with, which computes in ``dtype`` by autocast."""
        net = copy.deepcopy(self).eval().requires_grad_(False)
        net.low = None if dtype == torch.float32 else dtype
        return net

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return self.module.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return self.module.load_state_dict(*args, **kwargs)


class _Function(nn.Module):
    """A plain function as a module."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        return self.function(x, t, condition)


def wrap(net: Any, classes: int) -> Custom:
    """Return any nn.Module or callable ``net(x, t, labels)`` as what a pipeline holds.

    A module is copied, in evaluation mode, its weights without gradients. A function is taken as it
    is, and called with tensors on the CPU. Raises UserError for anything else.
    """
    if isinstance(net, nn.Module):
        return Custom(copied(net), passed(net), classes).eval().requires_grad_(False)
    if callable(net) and not isinstance(net, type):
        return Custom(_Function(net), CustomConfig(name(net)), classes)
    raise UserError(f"`net` is {net!r}: pass an nn.Module, or a function net(x, t, labels)")


def check(net: Custom, shape: tuple[int, ...], outputs: int, training: bool = False) -> None:
    """Call a network once, on two images of a shape (C, H, W).

    Raises:
        UserError: it does not take ``(x, t, condition)``, the call fails, or what it returns is not
            a tensor of ``outputs`` channels and the same sides; or for ``training`` it has nothing
            to train.
    """
    x = torch.zeros(2, *shape, device=net.device)
    condition = torch.tensor([0, net.classes], device=net.device) if net.classes else None
    given = x, x.new_zeros(2), condition
    _takes(net.module, given)
    modes = {each: each.training for each in net.modules()}
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            output = net.eval()(*given)
    except UserError:
        raise
    except Exception as error:
        told = f"of 0 to {net.classes}, the null class" if net.classes else "None"
        raise UserError(
            f"`net` cannot be called with x {(*x.shape,)}, t (2,) and condition {told} "
            f"({type(error).__name__}: {error}): make it take these"
        ) from error
    finally:
        for each, mode in modes.items():
            each.training = mode
    if training and not any(weight.requires_grad for weight in net.parameters()):
        raise UserError("`net` has no weights that ask for a gradient: there is nothing to train")
    wanted = (2, outputs, *shape[1:])
    if tuple(output.shape) != wanted:
        more = ", a prediction and a variance of each channel" if outputs != shape[0] else ""
        raise UserError(
            f"`net` returns {(*output.shape,)} for x {(*x.shape,)}: make it return {wanted}{more}"
        )


def fill(net: Custom, weights: Mapping[str, Tensor], where: Path) -> None:
    """Load the weights of a checkpoint, ``where``, into a network that was passed for it.

    Raises UserError where they are not the weights of such a network.
    """
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).strip().splitlines()[1:2] or [str(error)]
        raise UserError(
            f"`net` is not the network that {where} holds ({first[0].strip(' .')}): pass the one "
            "that was trained"
        ) from None


def _takes(module: nn.Module, given: tuple[Any, ...]) -> None:
    forward = module.function if isinstance(module, _Function) else module.forward
    try:
        inspect.signature(forward).bind(*given)
    except TypeError as error:
        raise UserError(
            f"`net` does not take (x, t, condition) ({error}): give it these three arguments, "
            "condition being a label for each image, or None in a model without classes"
        ) from None
    except ValueError:  # it has no signature that could be read: the call will tell
        pass
