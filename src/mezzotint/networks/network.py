"""The base classes of the networks: preparation for training and sampling, and conditioning."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import chain
from typing import Any, Self

import torch
from torch import Tensor, nn

from mezzotint.devices import on_cpu, on_gpu
from mezzotint.errors import UserError
from mezzotint.networks.blocks import Up, sinusoid
from mezzotint.networks.compiling import compiles, mending
from mezzotint.networks.conditions import Condition, Given, Layered, Stem
from mezzotint.networks.conditions import named as by_name
from mezzotint.networks.norm import GroupNorm

COMPILE_FROM = 2_000  # the number of calls that repays the time of a compilation
# The same number for training steps on a CPU, where the backward pass takes longer to compile.
STEPS_FROM = 5_000


class Network(nn.Module):
    """Abstract base class of the networks that pipelines run."""

    config: Any  # the dataclass from which the network was built
    gains = False  # whether compilation makes training or bf16 sampling faster on a CPU

    @property
    def dtype(self) -> torch.dtype:
        """The type in which the network computes outside autocast: that of its first weight."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """The device of the network's weights."""
        return next(self.parameters()).device

    @property
    def digest(self) -> str:
        """The SHA-256 of the weights in their current type, and of the configuration.

        The configuration is included because the weights do not reveal, for example, the number of
        heads. Only fields that differ from their defaults count, so a new field does not change the
        digests of older networks.
        """
        plain = asdict(type(self.config)())
        set_ = {key: value for key, value in asdict(self.config).items() if value != plain[key]}
        digest = hashlib.sha256(json.dumps(set_).encode())
        for name, weight in self.state_dict().items():
            digest.update(name.encode())
            digest.update(weight.cpu().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()

    @property
    def compiled(self) -> bool:
        """Whether `compile_for` has compiled the network."""
        return self._compiled_call_impl is not None

    def compile_for(self, calls: int) -> bool:
        """Compile the network if it will be called often enough to repay the compilation.

        Compilation takes one or two minutes; ``calls`` is the expected number of calls. If there
        are enough calls, a network on a GPU is always compiled; the compiled code uses CUDA graphs
        for sampling, but not for training. A network on a CPU is compiled only for training or bf16
        sampling, and only if there is a compiler and `gains` is true. Compilation for a CPU stores
        the weights channels-last, as the compiled code needs them. The code is specialised to the
        tensor shapes of the first call.

        Returns:
            Whether this call has compiled the network.
        """
        if self.compiled or not self.repays(calls):
            return False
        weight = next(self.parameters())
        if on_cpu(weight):
            self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        mode = "reduce-overhead" if on_gpu(weight) and not self.training else "default"
        code = torch.compile(self._call_impl, mode=mode, dynamic=False)  # as nn.Module.compile does
        self._compiled_call_impl = mending(code)
        return True

    def repays(self, calls: int) -> bool:
        """Return whether `compile_for` compiles the network, if it is not compiled yet."""
        weight = next(self.parameters())
        if calls < (STEPS_FROM if on_cpu(weight) and self.training else COMPILE_FROM):
            return False
        low = self.training or self.dtype == torch.bfloat16
        return on_gpu(weight) or (on_cpu(weight) and self.gains and low and compiles())

    def for_inference(self, dtype: torch.dtype) -> Self:
        """Return a copy for sampling, with weights in ``dtype``.

        Tensors that depend only on the weights are computed once. The weights of the group norms
        keep their type: they are few, and rounding them would change the samples visibly.
        """
        net = copy.deepcopy(self).eval().requires_grad_(False)
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for layer in net.modules():
            if isinstance(layer, Up):
                layer.merged = layer.taps().contiguous(memory_format=torch.channels_last)
            if not isinstance(layer, GroupNorm):
                for tensor in chain(layer.parameters(False), layer.buffers(False)):
                    tensor.data = tensor.to(dtype)
        return net

    def rounds(self, original: Network) -> bool:
        """Return whether rounding the weights of ``original`` gives this network's weights."""
        weights = original.state_dict()
        return all(
            torch.equal(weight, weights[name].to(weight))
            for name, weight in self.state_dict().items()
        )


class Conditioned(Network):
    """Abstract base class of networks conditioned on the time and other conditions.

    The condition vector (B, emb) is ``mlp(sinusoid(t)) + sum of encoder(condition) +
    linear(augmentation)``. ``frequencies`` is the length of the sinusoid, and ``shift`` is the
    ``shift`` of `sinusoid`. Each condition has an encoder. The sum leaves out spatial conditions,
    such as images. Their encoders are layers like the network's first layer, made by ``stem``. The
    outputs of these encoders are added to the output of the first layer (`beside`). The term for
    the augmentation comes from EDM (Karras et al. 2022, arXiv 2206.00364, appendix F.2). This term
    has no bias, so zeros add nothing.
    """

    def __init__(
        self,
        frequencies: int,
        emb: int,
        conditions: Sequence[Condition],
        stem: Stem,
        augmentation: int,
        shift: int = 1,
    ) -> None:
        super().__init__()
        self.frequencies, self.conditions, self.shift = frequencies, tuple(conditions), shift
        self.time = nn.Sequential(nn.Linear(frequencies, emb), nn.SiLU(), nn.Linear(emb, emb))
        for each in self.conditions:
            self.add_module(each.module, each.encoder(emb, stem))
        self.encoders = [(each.name, each.module) for each in self.conditions if not each.spatial]
        self.layers = [(each.name, each.module) for each in self.conditions if each.spatial]
        self.augmentation = nn.Linear(augmentation, emb, bias=False) if augmentation else None

    def named(self, condition: Given | Tensor | None, t: Tensor) -> Given:
        """Return all conditions by name; missing conditions become null. See `conditions.named`."""
        return by_name(condition, self.conditions, t)

    def embed(self, t: Tensor, given: Given, augmentation: Tensor | None) -> Tensor:
        """Compute the condition vector (B, emb) from t (B,), conditions and augmentation (B, n).

        ``given`` has all conditions by name; see `named`. If ``augmentation`` is None, zeros are
        used. Raises UserError if ``augmentation`` is given to a network that does not take it.
        """
        emb: Tensor = self.time(sinusoid(t, self.frequencies, self.shift).to(self.dtype))
        for name, module in self.encoders:
            emb = emb + getattr(self, module)(given[name])
        if self.augmentation is not None:
            # Zeros are not skipped, because every process needs a gradient for every weight.
            if augmentation is None:
                # An export would store len(t) as a constant.
                augmentation = emb.new_zeros(t.shape[0], self.augmentation.in_features)
            emb = emb + self.augmentation(augmentation.to(self.dtype))
        elif augmentation is not None:
            raise UserError(
                "this network is not conditioned on the augmentation: leave out `augmentation`"
            )
        return emb

    def beside(
        self, h: Tensor, given: Given, x: Tensor, fold: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Add the encoded spatial conditions to h, the output of the first layer.

        ``fold`` converts images at the resolution of x to the form that the first layer takes, such
        as patches.
        """
        for name, module in self.layers:
            encoder: Layered = getattr(self, module)
            h = h + encoder.layer(fold(encoder.aligned(given[name], x)).to(self.dtype))
        return h
