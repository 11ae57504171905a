"""A user's own network: any nn.Module with ``forward(x, t, condition)``, or a plain function."""

from __future__ import annotations

import copy
import hashlib
import inspect
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mezzotint.devices import autocast
from mezzotint.errors import UserError
from mezzotint.networks.conditions import ClassCondition, Condition, Given, every, named
from mezzotint.networks.network import Conditioned, Network
from mezzotint.networks.passing import copied, passed
from mezzotint.networks.record import CustomConfig, name


class Custom(Network):
    """A user's own module ``module(x, t, condition)``, called like any network.

    x and the output are (B, C, H, W), t is (B,) float. ``condition`` is a tensor if the model has
    one condition; for classes it is int64 (B,) from 0 to K, where K is the null class. If the model
    has several conditions, ``condition`` is a dict of tensors; if the model has none, it is None.
    The state dict is that of the user's module, with the same names.
    """

    def __init__(
        self,
        module: nn.Module,
        config: CustomConfig,
        classes: int = 0,
        conditions: Sequence[Condition] = (),
    ) -> None:
        super().__init__()
        self.module, self.config = module, config
        self.classes, self.conditions = classes, every(classes, conditions)
        self.low: torch.dtype | None = None  # the type of computation under autocast
        self.token = "" if config.code else secrets.token_hex(16)

    def forward(self, x: Tensor, t: Tensor, condition: Given | Tensor | None = None) -> Tensor:
        given = named(condition, self.conditions, t)
        only = next(iter(given.values())) if len(given) == 1 else given or None
        with autocast(x.device, self.low) if self.low else nullcontext():
            output = self.module(x, t, only)
        if not isinstance(output, Tensor):
            raise UserError(f"`net` returns a {type(output).__name__}: make it return a tensor")
        return output.to(x.dtype)

    @property
    def dtype(self) -> torch.dtype:
        """The type in which the network computes: float32, or the type that `for_inference` set."""
        return self.low or torch.float32

    @property
    def device(self) -> torch.device:
        """The device of the module's weights; the CPU if there are no weights."""
        found = next(chain(self.parameters(), self.buffers()), None)
        return torch.device("cpu") if found is None else found.device

    @property
    def digest(self) -> str:
        """The SHA-256 of `Network.digest`, the type of computation and the conditions.

        Only the number of classes counts, not their names. A function has a random digest, because
        the code of the function is not known.
        """
        more = [each.facts() for each in self.conditions[bool(self.classes) :]]
        content = f"{super().digest} {self.low} {self.classes} {self.token}{more or ''}"
        return hashlib.sha256(content.encode()).hexdigest()

    def repays(self, calls: int) -> bool:
        """Return False: only the user knows if their network can be compiled."""
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
    """A module that calls a plain function."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        return self.function(x, t, condition)


def wrap(net: Any, classes: int, conditions: Sequence[Condition] = ()) -> Custom:
    """Wrap any nn.Module or callable ``net(x, t, condition)`` as a network for a pipeline.

    A module is copied, and the copy is in evaluation mode and computes no gradients for its
    weights. A function is not copied, and gets tensors on the CPU. Raises UserError for anything
    else.
    """
    if isinstance(net, nn.Module):
        made = Custom(copied(net), passed(net), classes, conditions)
        return made.eval().requires_grad_(False)
    if callable(net) and not isinstance(net, type):
        return Custom(_Function(net), CustomConfig(name(net)), classes, conditions).eval()
    raise UserError(f"`net` is {net!r}: pass an nn.Module, or a function net(x, t, labels)")


def check(
    net: Custom | Conditioned, shape: tuple[int, ...], outputs: int, training: bool = False
) -> None:
    """Call a network once on two images of shape (C, H, W), and check its output.

    Raises:
        UserError: If the network does not take ``(x, t, condition)``; the call fails or changes an
            input; the result is not a tensor with ``outputs`` channels and the height and
            width of the images; or ``training`` is set and there are no weights to train.
    """
    x = torch.full((2, *shape), 0.5, device=net.device)
    condition = {
        each.name: torch.cat([each.some(1), each.null(1)]).to(net.device) for each in net.conditions
    }
    given = x, x.new_zeros(2), condition or None
    kept = {name: value.clone() for name, value in condition.items()}
    if isinstance(net, Custom):
        _takes(net.module, given)
    modes = {each: each.training for each in net.modules()}
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            output = net.eval()(*given)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"`net` cannot be called with x {(*x.shape,)}, t (2,) and condition {_probe(net)} "
            f"({type(error).__name__}: {error}): make it accept these inputs"
        ) from error
    finally:
        for each, mode in modes.items():
            each.training = mode
    changed = ["x"] if (x != 0.5).any() else []
    changed += ["t"] if given[1].any() else []
    changed += ["condition"] if any((kept[k] != v).any() for k, v in condition.items()) else []
    if changed:
        raise UserError(
            f"`net` changes its input {changed[0]} in place: make it compute a new tensor instead"
        )
    if training and not any(weight.requires_grad for weight in net.parameters()):
        raise UserError("`net` has no weights that require a gradient: give a network to train")
    wanted = (2, outputs, *shape[1:])
    if tuple(output.shape) != wanted:
        more = ", a prediction and a variance for each channel" if outputs != shape[0] else ""
        raise UserError(
            f"`net` returns {(*output.shape,)} for x {(*x.shape,)}: make it return {wanted}{more}"
        )


def _probe(net: Custom | Conditioned) -> str:
    """Describe the condition with which `check` calls a network, for an error."""
    if len(net.conditions) == 1 and isinstance(net.conditions[0], ClassCondition):
        return f"(2,) of class 0 and the null class {len(net.conditions[0].classes)}"
    shapes = {each.name: (2, *each.null(1).shape[1:]) for each in net.conditions}
    return str(next(iter(shapes.values())) if len(shapes) == 1 else shapes or None)


def fill(net: Custom, weights: Mapping[str, Tensor], where: Path) -> None:
    """Load the weights of a checkpoint into a network that the user passed.

    Raises UserError if the weights do not fit the network; ``where`` names the checkpoint.
    """
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).strip().splitlines()[1:2] or [str(error)]
        raise UserError(
            f"`net` does not fit the weights in {where} ({first[0].strip(' .')}): pass the network "
            "that was trained"
        ) from None


def _takes(module: nn.Module, given: tuple[Any, ...]) -> None:
    """Raise UserError unless the signature of a module's ``forward`` takes these arguments."""
    forward = module.function if isinstance(module, _Function) else module.forward
    try:
        inspect.signature(forward).bind(*given)
    except TypeError as error:
        raise UserError(
            f"`net` does not take (x, t, condition) ({error}): give it these three parameters; "
            "condition is a label for each image, or None in a model without classes"
        ) from None
    except ValueError:  # without a signature, the call itself will show an error
        pass
