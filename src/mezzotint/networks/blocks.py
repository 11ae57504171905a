"""The layers of the U-Net and the autoencoder."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mezzotint.devices import on_cpu
from mezzotint.networks.norm import GroupNorm

MUCH = 2**23  # number of elements; in bf16 they take 16 MiB


def zeroed(layer: nn.Conv2d | nn.Linear) -> nn.Conv2d | nn.Linear:
    """Set the weights and the bias of a layer to zero, and return the layer.

    A residual block whose last layer is zero is the identity, as in Ho et al. 2020.
    """
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def sinusoid(t: Tensor, dim: int, shift: int = 1) -> Tensor:
    """Return the sinusoidal embedding (B, dim) of the times t (B,): sines first, then cosines.

    The angles are ``t * 10000^(-k / (dim/2 - shift))`` for k = 0..dim/2 - 1. ``shift`` is 1 in DDPM
    and 0 in Vaswani et al. 2017, arXiv 1706.03762.
    """
    half = dim // 2
    k = torch.arange(half, device=t.device, dtype=torch.float32)
    angle = t.float()[:, None] * torch.exp(-math.log(10000) / (half - shift) * k)
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def large(*parts: Tensor, kept: int = 1) -> bool:
    """Return whether the backward pass should recompute a layer's activations.

    The result is True if the layer would otherwise keep more than MUCH elements for the backward
    pass. ``parts`` are the layer's inputs. The layer is assumed to keep ``kept`` elements for each
    element of the inputs.
    """
    return torch.is_grad_enabled() and kept * sum(part.numel() for part in parts) > MUCH


def remade(layers: Callable[..., Tensor], *parts: Tensor, random: bool = False) -> Tensor:
    """Compute ``layers(*parts)`` and keep only ``parts`` for the backward pass.

    The backward pass computes the activations between the layers again; for ``conv(norm(x))`` it
    computes ``norm(x)`` again. Set ``random`` if the layers draw random numbers.
    """
    out: Tensor = checkpoint(layers, *parts, use_reentrant=False, preserve_rng_state=random)
    return out


class Pointwise(nn.Conv2d):
    """A 1x1 convolution; for large contiguous x, it is a matrix product, which is faster."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__(cin, cout, 1)

    def forward(self, x: Tensor) -> Tensor:
        b, _, h, w = x.shape
        if h * w < 256 or not x.is_contiguous():
            return super().forward(x)
        assert self.bias is not None
        weight = self.weight.flatten(1).expand(b, -1, -1)
        return torch.baddbmm(self.bias[:, None], weight, x.flatten(2)).view(b, -1, h, w)


class ResBlock(nn.Module):
    """A residual block: ``shortcut(x) + conv(dropout(silu(norm(conv(silu(norm(x))) + shift))))``.

    ``shift`` (B, cout) comes from the embedding of the time; None means 0. ``shortcut`` is a 1x1
    convolution if the number of channels changes, and the identity otherwise.
    """

    def __init__(self, cin: int, cout: int, groups: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = GroupNorm(cin, groups, silu=True)
        self.conv1 = nn.Conv2d(cin, cout, 3, padding=1)
        self.norm2 = GroupNorm(cout, groups, silu=True)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = zeroed(nn.Conv2d(cout, cout, 3, padding=1))
        self.shortcut = Pointwise(cin, cout) if cin != cout else nn.Identity()
        self.width = cout

    def forward(self, x: Tensor, shift: Tensor | None = None, skip: Tensor | None = None) -> Tensor:
        """Apply the block to x, or to x and ``skip`` concatenated along the channels."""
        parts = (x,) if skip is None else (x, skip)
        if not large(*parts):
            x = beside(*parts)
            h = self.first(x)
            if shift is not None:
                h += shift[:, :, None, None]
            out: Tensor = self.second(h).add_(self.shortcut(x))
            return out
        h = remade(lambda *parts: self.first(beside(*parts)), *parts)
        if shift is not None:
            h += shift[:, :, None, None]
        h = remade(self.second, h, random=self.training and self.dropout.p > 0)
        return h.add_(remade(lambda *parts: self.shortcut(beside(*parts)), *parts))

    def first(self, x: Tensor) -> Tensor:
        """Compute the first norm and the first convolution of the block."""
        out: Tensor = self.conv1(self.norm1(x))
        return out

    def second(self, h: Tensor) -> Tensor:
        """Compute the rest of the block; h is the output of `first` plus the shift."""
        out: Tensor = self.conv2(self.dropout(self.norm2(h)))
        return out


def beside(*parts: Tensor) -> Tensor:
    """Concatenate tensors along the channels."""
    return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Compute ``softmax(q k^T / sqrt(d)) v`` for q, k and v (B, heads, tokens, d)."""
    if on_cpu(q) and torch.is_grad_enabled():
        # A U-Net has a few hundred tokens; for so few, the plain form trains faster.
        return torch.softmax(q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2), dim=-1) @ v
    return F.scaled_dot_product_attention(q, k, v)


class Attention(nn.Module):
    """Self-attention over the pixels, with a residual connection.

    Each head has ``width`` channels. If ``width`` is None, there is one head.
    """

    def __init__(self, channels: int, groups: int, width: int | None) -> None:
        super().__init__()
        self.heads = channels // (width or channels)
        self.norm = GroupNorm(channels, groups)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = zeroed(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        # For the backward pass, attention keeps about seven times the size of x. To recompute it
        # costs about as much as to recompute three norms.
        return x + (remade(self.attended, x) if large(x, kept=2) else self.attended(x))

    def attended(self, x: Tensor) -> Tensor:
        """Apply the attention to x (B, C, H, W), without the residual connection."""
        b, c, h, w = x.shape
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        qkv = self.qkv(tokens).view(b, h * w, 3, self.heads, c // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        out: Tensor = self.out(attend(q, k, v).transpose(1, 2).reshape(b, h * w, c))
        return out.transpose(1, 2).view(b, c, h, w)


class Down(nn.Module):
    """Halve the resolution by a strided convolution, padded on the right and the bottom only.

    If ``around`` is set, the convolution is padded on all four sides instead.
    """

    def __init__(self, channels: int, around: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=int(around))
        self.sides = (0, 0, 0, 0) if around else (0, 1, 0, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(F.pad(x, self.sides))
        return out


def doubled(x: Tensor) -> Tensor:
    """Repeat each pixel in both directions: (B, C, H, W) to (B, C, 2H, 2W)."""
    if not torch.compiler.is_compiling() or torch.compiler.is_exporting():
        return F.interpolate(x, scale_factor=2.0, mode="nearest")
    # torch.compile would turn the backward pass of interpolate into slow scalar additions.
    x = torch.stack([x, x], 3).flatten(2, 3)
    return torch.stack([x, x], 4).flatten(3, 4)


class Up(nn.Module):
    """Double the resolution: nearest-neighbour interpolation, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.merged: Tensor | None  # the result of `taps`, computed once for inference
        self.register_buffer("merged", None, persistent=False)
        self.register_load_state_dict_post_hook(_merge)  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] * x.shape[3] < 256:
            out: Tensor = self.conv(doubled(x))
            return out
        taps = self.taps() if self.merged is None else self.merged
        return F.conv_transpose2d(x, taps, self.conv.bias, stride=2, padding=1)

    def taps(self) -> Tensor:
        """Return the kernel (C, C, 4, 4) of a transposed convolution that is equivalent to `Up`.

        After the interpolation, the nine pixels under the kernel (C, C, 3, 3) of `Up` have only
        four different values. So 2x2 weights for each output pixel suffice, instead of 3x3.
        """
        # divisor_override=1 is not used, because ONNX lacks it.
        sums = 4 * F.avg_pool2d(self.conv.weight, 2, stride=1, padding=1)
        return sums.flip(2, 3).transpose(0, 1)


def _merge(up: Up, _: object) -> None:
    """Compute ``merged`` again after other weights were loaded, if it was computed before."""
    if up.merged is not None:
        up.merged = up.taps().detach().contiguous(memory_format=torch.channels_last)
