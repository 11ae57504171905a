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

COMPILE_FROM = 2_000  # calls that repay a compilation
STEPS_FROM = 5_000  # steps of a training on a CPU, where the backward pass takes longer to compile


class Network(nn.Module):
    """Base class of the networks that pipelines run; abstract."""

    config: Any  # the dataclass that it was built from
    gains = False  # whether compilation makes it faster on a CPU, in training or bf16 sampling

    @property
    def dtype(self) -> torch.dtype:
        """The type of computation outside autocast, which is that of the first weight."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """The device of its weights."""
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
        """Whether `compile_for` has compiled it."""
        return self._compiled_call_impl is not None

    def compile_for(self, calls: int) -> bool:
        """Compile the network if this many calls repay the one or two minutes of compilation.

        On a GPU it is always compiled, with CUDA graphs for sampling. On a CPU it is compiled for
        training or bf16 sampling, if there is a compiler and the network becomes faster; its
        weights then become channels-last, like the compiled code. The code is specialised to the
        shapes of the first call.

        Returns:
            Whether it was compiled.
        """
        weight = next(self.parameters())
        enough = calls >= (STEPS_FROM if on_cpu(weight) and self.training else COMPILE_FROM)
        if not enough or self.compiled:
            return False
        low = self.training or self.dtype == torch.bfloat16
        if on_cpu(weight) and self.gains and low and compiles():
            self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        elif not on_gpu(weight):
            return False
        mode = "reduce-overhead" if on_gpu(weight) and not self.training else "default"
        code = torch.compile(self._call_impl, mode=mode, dynamic=False)  # as nn.Module.compile does
        self._compiled_call_impl = mending(code)
        return True

    def for_inference(self, dtype: torch.dtype) -> Self:
        """Return a copy for sampling, with weights in ``dtype`` and derived tensors computed once.

        The weights of the group norms keep their type: they are few, and rounding them would change
        the samples visibly.
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
        """Return whether the weights are those of ``original`` in the types of this network."""
        weights = original.state_dict()
        return all(
            torch.equal(weight, weights[name].to(weight))
            for name, weight in self.state_dict().items()
        )


class Conditioned(Network):
    """Base class of networks conditioned on the time and other conditions; abstract.

    The condition vector has the width ``emb``: ``mlp(sinusoid(t)) + encoders(conditions) +
    augmentation(numbers)``. The sinusoid has ``frequencies`` numbers and the frequency shift
    ``shift``. Each condition has an encoder. The encoders of spatial conditions add to the output
    of the first layer instead (`beside`). The term for the augmentation comes from EDM (Karras et
    al. 2022, arXiv 2206.00364, appendix F.2). It has no bias, so zeros add nothing.
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
        """Return all conditions by name; see `conditions.condition.named`."""
        return by_name(condition, self.conditions, t)

    def embed(
        self, t: Tensor, condition: Given | Tensor | None, augmentation: Tensor | None
    ) -> Tensor:
        """Compute the condition vector (B, emb) from t (B,), conditions and augmentation (B, n).

        Augmentation None means zeros. Raises UserError for augmentation if the network takes none.
        """
        emb: Tensor = self.time(sinusoid(t, self.frequencies, self.shift).to(self.dtype))
        given = self.named(condition, t)
        for name, module in self.encoders:
            emb = emb + getattr(self, module)(given[name])
        if self.augmentation is not None:
            # Zeros are added too, because every process needs a gradient of every weight.
            if augmentation is None:
                # len(t) would become a constant in an export.
                augmentation = emb.new_zeros(t.shape[0], self.augmentation.in_features)
            emb = emb + self.augmentation(augmentation.to(self.dtype))
        elif augmentation is not None:
            raise UserError(
                "this network is not conditioned on the augmentation: leave out augmentation"
            )
        return emb

    def beside(
        self, h: Tensor, given: Given, x: Tensor, fold: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Add the spatial conditions to h, the output of the first layer.

        ``fold`` converts channels at the resolution of x to the input of the first layer.
        """
        for name, module in self.layers:
            encoder: Layered = getattr(self, module)
            h = h + encoder.layer(fold(encoder.aligned(given[name], x)).to(self.dtype))
        return h
