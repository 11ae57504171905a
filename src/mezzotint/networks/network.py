"""What the networks have in common: how they are made ready to run, and what they are told."""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import asdict
from functools import cache
from itertools import chain
from typing import Any, Self

import torch
from torch import Tensor, nn

from mezzotint.errors import UserError
from mezzotint.networks.blocks import Up, sinusoid
from mezzotint.networks.norm import GroupNorm

COMPILE_FROM = 2_000  # calls
STEPS_FROM = 5_000  # of a training on a CPU, whose way back takes a minute more


@cache
def compiles() -> bool:
    """Whether code can be compiled for the CPU here: that takes a C++ compiler, Python's headers.

    Compiles something small to see, which takes seconds.
    """
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.zeros(1))
    except Exception:  # of all sorts: it is left alone then
        return False
    return True


class Network(nn.Module):
    """A network that pipelines run: abstract."""

    config: Any  # the dataclass it was made of
    gains = False  # whether a compiler makes it faster on a CPU, to train it or to sample in bf16

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in, outside autocast: the type of its first weight."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.parameters()).device

    @property
    def digest(self) -> str:
        """SHA-256 of the weights, as they are computed with, and of the network they are used in.

        Heads and groups leave no trace in the weights. Of the configuration that which is not the
        default, so that a setting that is new changes no digest.
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
        """Whether `compile_for` has had it compiled."""
        return self._compiled_call_impl is not None

    def compile_for(self, calls: int) -> bool:
        """Compile if so many calls pay for its minute or two; returns whether that was begun.

        On a GPU, with CUDA graphs to sample; on a CPU, where that can be done, what gains by it, to
        train it or to sample in bf16: its weights become channels-last then, as the code is that is
        made. The shapes are taken as fixed.
        """
        device = next(self.parameters()).device.type
        enough = calls >= (STEPS_FROM if device == "cpu" and self.training else COMPILE_FROM)
        if not enough or self.compiled:
            return False
        low = self.training or self.dtype == torch.bfloat16
        if device == "cpu" and self.gains and low and compiles():
            self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        elif device != "cuda":
            return False
        graphs = device == "cuda" and not self.training
        self.compile(mode="reduce-overhead" if graphs else "default", dynamic=False)
        return True

    def for_inference(self, dtype: torch.dtype) -> Self:
        """A copy to sample with: weights in ``dtype``, and what follows from them, made once.

        The group norms' weights stay as they are: they are few, and rounding them is what would
        tell.
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


class Conditioned(Network):
    """A network told the time, the class and ``told`` numbers, as a vector of ``emb``: abstract.

    ``mlp(sinusoid(t)) + label[class] + augmentation(told)``, the sinusoid of ``frequencies``
    numbers, with the frequency shift ``shift``. The null class is row K = ``classes`` of the label
    embedding. The last term is EDM's (Karras et al. 2022, arXiv 2206.00364, appendix F.2): without
    bias, so that zeros add nothing.
    """

    def __init__(self, frequencies: int, emb: int, classes: int, told: int, shift: int = 1) -> None:
        super().__init__()
        self.frequencies, self.classes, self.shift = frequencies, classes, shift
        self.time = nn.Sequential(nn.Linear(frequencies, emb), nn.SiLU(), nn.Linear(emb, emb))
        self.label = nn.Embedding(classes + 1, emb) if classes else None
        self.augmentation = nn.Linear(told, emb, bias=False) if told else None

    def embed(self, t: Tensor, labels: Tensor | None, told: Tensor | None) -> Tensor:
        """What the blocks are told (B, emb), of t (B,), labels (B,) and told (B, told).

        labels None are the null class, told None is zeros. Raises UserError for labels or told of a
        network that takes none.
        """
        emb: Tensor = self.time(sinusoid(t, self.frequencies, self.shift).to(self.dtype))
        if self.label is not None:
            if labels is None:
                labels = torch.full((len(t),), self.classes, device=t.device)
            emb = emb + self.label(labels)
        elif labels is not None:
            raise UserError("this network is unconditional: it takes no labels")
        if self.augmentation is not None:
            # Not left out where it is zeros: every process must have a gradient of every weight.
            told = emb.new_zeros(len(t), self.augmentation.in_features) if told is None else told
            emb = emb + self.augmentation(told.to(self.dtype))
        elif told is not None:
            raise UserError("this network is told the time and the class alone: leave out told")
        return emb
