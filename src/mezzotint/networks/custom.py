"""A user's own network: any nn.Module with ``forward(x, t, condition)``, or a plain function."""

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
    """A user's own module ``module(x, t, condition)``, called as ``net(x, t, labels) -> output``.

    x and the output are (B, C, H, W), t is (B,) float, labels are (B,) int64 or None. With
    ``classes`` K > 0 the condition is (B,) int64 from 0 to K, where K is the null class; labels
    None stand for it. Without classes the condition is None. The weights keep the module's own
    names.
    """

    def __init__(self, module: nn.Module, config: CustomConfig, classes: int = 0) -> None:
        super().__init__()
        self.module, self.config, self.classes = module, config, classes
        self.low: torch.dtype | None = None  # the type that autocast computes in
        self.token = "" if config.code else secrets.token_hex(16)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.classes and labels is None:
            labels = torch.full((len(t),), self.classes, device=t.device)
        elif not self.classes and labels is not None:
            raise UserError("this network is unconditional and takes no labels: pass None")
        with torch.autocast(x.device.type, self.low) if self.low else nullcontext():
            output = self.module(x, t, labels)
        if not isinstance(output, Tensor):
            raise UserError(f"`net` returns {type(output).__name__}: make it return a tensor")
        return output.to(x.dtype)

    @property
    def dtype(self) -> torch.dtype:
        """The type it computes in: float32, or the one that `for_inference` set."""
        return self.low or torch.float32

    @property
    def device(self) -> torch.device:
        """The device of its weights; the CPU if it has none."""
        found = next(chain(self.parameters(), self.buffers()), None)
        return torch.device("cpu") if found is None else found.device

    @property
    def digest(self) -> str:
        """The digest of `Network.digest`. A function's code is not known: it gets a random one."""
        content = f"{super().digest} {self.low} {self.classes} {self.token}"
        return hashlib.sha256(content.encode()).hexdigest()

    def compile_for(self, calls: int) -> bool:
        """Compile nothing: only the user knows whether their network can be compiled."""
        return False

    def for_inference(self, dtype: torch.dtype) -> Custom:
        """Return a copy for sampling, which computes in ``dtype`` by autocast."""
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
    """Wrap any nn.Module or callable ``net(x, t, labels)`` as a network that a pipeline can run.

    A module is copied and put in evaluation mode, with no gradients for its weights. A function is
    kept as it is and gets tensors on the CPU. Raises UserError for anything else.
    """
    if isinstance(net, nn.Module):
        return Custom(copied(net), passed(net), classes).eval().requires_grad_(False)
    if callable(net) and not isinstance(net, type):
        return Custom(_Function(net), CustomConfig(name(net)), classes)
    raise UserError(f"`net` is {net!r}: pass an nn.Module, or a function net(x, t, labels)")


def check(net: Custom, shape: tuple[int, ...], outputs: int, training: bool = False) -> None:
    """Call a network once on two images of shape (C, H, W), and check what it returns.

    Raises:
        UserError: If it does not take ``(x, t, condition)``, if the call fails, if the result is
            not a tensor with ``outputs`` channels and the same height and width, or if it has no
            weights to train and ``training`` is set.
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
        labels = f"of 0 to {net.classes}, the null class" if net.classes else "None"
        raise UserError(
            f"`net` cannot be called with x {(*x.shape,)}, t (2,) and condition {labels} "
            f"({type(error).__name__}: {error}): make it take these"
        ) from error
    finally:
        for each, mode in modes.items():
            each.training = mode
    if training and not any(weight.requires_grad for weight in net.parameters()):
        raise UserError("`net` has no weights that require a gradient: give a network to train")
    wanted = (2, outputs, *shape[1:])
    if tuple(output.shape) != wanted:
        more = ", a prediction and a variance of each channel" if outputs != shape[0] else ""
        raise UserError(
            f"`net` returns {(*output.shape,)} for x {(*x.shape,)}: make it return {wanted}{more}"
        )


def fill(net: Custom, weights: Mapping[str, Tensor], where: Path) -> None:
    """Load a checkpoint's weights into a network that the user passed for it.

    Raises UserError if the weights are not those of such a network; ``where`` names the checkpoint.
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
    except ValueError:  # the signature cannot be read: the call itself will show an error
        pass
