"""Group normalisation with an optional SiLU, faster on a CPU than torch's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.devices import on_cpu

PART = 2**21  # elements that are processed at a time, so that intermediate tensors stay small


class GroupNorm(nn.GroupNorm):
    """Group norm with an optional SiLU: ``f((x - mean) / sqrt(var + eps) * weight + bias)``.

    f is SiLU or the identity. Mean and variance are computed over a group of channels in one image
    (Wu and He 2018, arXiv 1803.08494). On a CPU with channels-last tensors, torch's backward pass
    is several times slower than necessary, and so is its forward pass at the middle resolutions of
    a U-Net. x is the only large tensor that this implementation keeps for the backward pass.
    """

    def __init__(self, channels: int, groups: int, silu: bool = False) -> None:
        super().__init__(groups, channels, eps=1e-6)
        self.silu = silu

    def forward(self, x: Tensor) -> Tensor:
        how = self.weight, self.bias, self.num_groups, self.eps, self.silu
        out: Tensor
        if on_cpu(x) and not torch.compiler.is_exporting():
            if torch.compiler.is_compiling():
                with torch.autocast("cpu", enabled=False):
                    out = _Compiled.apply(x, *how)  # type: ignore[no-untyped-call]
                return out
            if x.is_contiguous(memory_format=torch.channels_last):
                out = _ChannelsLast.apply(x, *how)  # type: ignore[no-untyped-call]
                return out
        out = super().forward(x.to(self.weight.dtype)).to(x.dtype)
        return F.silu(out) if self.silu else out


class _ChannelsLast(torch.autograd.Function):
    """Group norm for channels-last tensors.

    The code views images as (B, H, W, C). The mean and 1 / std of the G groups have the shape (B,
    G, 1), and values for each channel have the shape (B, G, C / G).
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float, silu: bool
    ) -> Tensor:
        b, c, h, w = x.shape
        if 64 <= h * w < 1024 and c // groups < 16:
            out, mean, rstd = _forward(x, weight, bias, groups, eps, silu)
        else:  # torch's own forward pass is fast here
            out, mean, rstd = torch.native_group_norm(x, weight, bias, b, c, h * w, groups, eps)
            mean, rstd = (v.to(_wide(x))[:, :, None] for v in (mean, rstd))
            out = F.silu(out, inplace=True) if silu else out
        ctx.save_for_backward(x, weight, bias, mean, rstd)
        ctx.silu = silu
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        """Return dx, ``(weight dz - mean(weight dz) - xhat mean(weight dz xhat)) / std``.

        dx and dz are gradients with respect to x and z. z is the value before the SiLU, if there is
        one, and xhat is ``(x - mean) / std``. The means are over a group of channels in one image.
        The gradients of weight and bias are also returned.
        """
        x, weight, bias, mean, rstd = ctx.saved_tensors
        x, dout = x.permute(0, 2, 3, 1), grad.permute(0, 2, 3, 1)
        dx, groups, pixels = torch.empty_like(x), mean.shape[1], x.shape[1] * x.shape[2]
        gain = weight.view(groups, -1)
        dweight, dbias = torch.zeros_like(gain), torch.zeros_like(gain)
        for i in _parts(x):
            xi, mi, ri = x[i], mean[i], rstd[i]
            # In a narrow type, the rounding error of a large mean would spoil the result, so the
            # mean is subtracted first.
            if x.dtype != mean.dtype:
                near = mi.to(x.dtype)
                xi, mi = xi - _spread(near.expand(-1, -1, gain.shape[1])), mi - near
            scale, shift = (v.to(x.dtype) for v in _affine(mi, ri, weight, bias))
            dz = dout[i]
            if ctx.silu:
                z = torch.addcmul(shift, xi, scale)
                dz = torch.ops.aten.silu_backward.grad_input(dz, z, grad_input=z)
            db = _sum(dz).view(-1, *gain.shape)
            dw = ri * (_sum(dz * xi).view(-1, *gain.shape) - mi * db)
            slope = -(ri**2) * (gain * dw).mean(2, keepdim=True) / pixels
            offset = -slope * mi - ri * (gain * db).mean(2, keepdim=True) / pixels
            slope, offset = (_spread(v.expand_as(db)).to(x.dtype) for v in (slope, offset))
            torch.addcmul(offset, xi, slope, out=dx[i]).addcmul_(dz, scale)
            dweight += dw.sum(0)
            dbias += db.sum(0)
        return dx.permute(0, 3, 1, 2), dweight.flatten(), dbias.flatten(), None, None, None


class _Compiled(torch.autograd.Function):
    """Group norm in a form that torch.compile turns into fast code for a CPU.

    It first sums the pixels of each channel to (B, C), which suits the channels-last tensors from
    compiled convolutions. A product with a matrix then computes the means of the groups. A view
    with an axis for the groups is avoided, because compiled code would process it element by
    element.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float, silu: bool
    ) -> Tensor:
        wide, pixels = x.to(_wide(x)), (2, 3)
        group = torch.arange(x.shape[1], device=x.device) * groups // x.shape[1]
        means = (group[:, None] == group).to(wide.dtype) * groups / x[0].numel()
        sums = torch.cat([wide.sum(pixels), wide.square().sum(pixels)])
        mean, square = (sums @ means).chunk(2)
        rstd = (square - mean**2).clamp(min=0).add(eps).rsqrt()
        scale = weight * rstd
        shift = bias - mean * scale
        ctx.save_for_backward(x, weight, means, mean, rstd, scale, shift)
        ctx.silu = silu
        out = wide * _pixels(scale) + _pixels(shift)
        return (F.silu(out) if silu else out).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        """Return the gradients of x, weight and bias; `_ChannelsLast.backward` has the formula."""
        x, weight, means, mean, rstd, scale, shift = ctx.saved_tensors
        wide, dz, pixels = x.to(mean.dtype), grad.to(mean.dtype), (2, 3)
        if ctx.silu:
            dz = torch.ops.aten.silu_backward(dz, wide * _pixels(scale) + _pixels(shift))
        db = dz.sum(pixels)
        dw = rstd * ((dz * wide).sum(pixels) - mean * db)
        with torch.autocast("cpu", enabled=False):
            along, over = (torch.cat([weight * dw, weight * db]) @ means).chunk(2)
        slope = -(rstd**2) * along
        offset = -slope * mean - rstd * over
        dx = dz * _pixels(scale) + wide * _pixels(slope) + _pixels(offset)
        return dx.to(x.dtype), dw.sum(0), db.sum(0), None, None, None


def _forward(
    x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float, silu: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the normalised images, and the mean and the 1 / std of each group, both (B, G, 1).

    The variance is ``mean(x^2) - mean(x)^2`` in float32 or wider. For a group whose mean is a
    hundred times its standard deviation, the normalised values are off by 0.003.
    """
    x = x.permute(0, 2, 3, 1)
    out, means, rstds = torch.empty_like(x), [], []
    for i in _parts(x):
        wide = x[i].to(_wide(x))
        sums = torch.stack([wide.sum((1, 2)), wide.square().sum((1, 2))])
        sums = sums.view(2, len(wide), groups, -1).mean(3, keepdim=True)
        mean, square = sums.div(x.shape[1] * x.shape[2])
        rstd = (square - mean**2).clamp_(min=0).add_(eps).rsqrt_()
        scale, shift = _affine(mean, rstd, weight, bias)
        z = torch.addcmul(shift, wide, scale)
        out[i] = F.silu(z, inplace=True) if silu else z
        means.append(mean)
        rstds.append(rstd)
    return out.permute(0, 3, 1, 2), torch.cat(means), torch.cat(rstds)


def _parts(x: Tensor) -> Iterator[slice]:
    """Yield slices of the batch; each has about PART elements, but at least one image."""
    count = max(1, PART * len(x) // max(1, x.numel()))
    return (slice(i, i + count) for i in range(0, len(x), count))


def _affine(mean: Tensor, rstd: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Return scale and shift (B, 1, 1, C), such that group norm is ``x * scale + shift``."""
    groups = mean.shape[1]
    scale = rstd * weight.view(groups, -1)
    return _spread(scale), _spread(bias.view(groups, -1) - mean * scale)


def _spread(x: Tensor) -> Tensor:
    """Reshape (B, G, C / G) to (B, 1, 1, C)."""
    return x.flatten(1)[:, None, None]


def _pixels(x: Tensor) -> Tensor:
    """Reshape (B, C) to (B, C, 1, 1)."""
    return x[:, :, None, None]


def _sum(x: Tensor) -> Tensor:
    """Sum (B, H, W, C) to (B, C), over W first to limit the rounding errors of narrow types."""
    return x.sum(2).to(_wide(x)).sum(1)


def _wide(x: Tensor) -> torch.dtype:
    """Return the wider of two types: float32 and the type of x."""
    return torch.promote_types(x.dtype, torch.float32)
