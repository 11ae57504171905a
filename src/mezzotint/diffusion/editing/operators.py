"""The operators A of observations ``y = A x0 + noise``.

Images are float (B, C, H, W) in [-1, 1]. A new operator needs only a function for A, because
autograd computes the transpose of a linear A.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from mezzotint.devices import on_cpu
from mezzotint.errors import Registry, UserError

GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow converts RGB to L
TOLERANCE = 1e-3  # relative, for the checks of linearity and of the transpose, in float32


@dataclass(frozen=True)
class Operator:
    """An operator A that observes images, ``y = A(x0)``, differentiable by torch.

    Attributes:
        forward: ``forward(x0) -> y``, x0 (B, C, H, W), y (B, ...).
        linear: Whether A is linear, which all methods except DPS require.
        transpose: ``transpose(y) -> x``, the adjoint of a linear A. If it is None, autograd
            computes the adjoint.
    """

    forward: Callable[[Tensor], Tensor]
    linear: bool = True
    transpose: Callable[[Tensor], Tensor] | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Return ``A x`` for images x (B, C, H, W)."""
        return self.forward(x)

    def adjoint(self, y: Tensor, like: Tensor) -> Tensor:
        """Return ``A^T y``, in the shape of the images ``like``."""
        if self.transpose is not None:
            return self.transpose(y)
        with torch.enable_grad():
            x = torch.zeros_like(like).requires_grad_()
            (found,) = torch.autograd.grad(self.forward(x), x, y)
        return found

    def norm(self, like: Tensor) -> Tensor:
        """Return the largest singular value of a linear A, roughly, by power iteration.

        ``like`` has the shape of the images x0.
        """
        x = torch.randn(like.shape, generator=torch.Generator().manual_seed(0)).to(like)
        for _ in range(10):
            x = self.adjoint(self(x), like)
            x = x / x.norm().clamp(min=1e-12)
        largest: Tensor = self(x).norm()
        return largest

    def check(self, x: Tensor, y: Tensor) -> None:
        """Raise UserError unless A maps images of the shape of x to the shape of y.

        A must also have a gradient. If ``linear`` is set, A must be linear, and `adjoint` must
        satisfy ``<A x, y> = <x, A^T y>``.
        """
        try:
            with torch.enable_grad():
                seen = self.forward(x.clone().requires_grad_())
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"the operator fails on images {tuple(x.shape)} ({type(error).__name__}: {error}): "
                "give an operator for images of this shape"
            ) from error
        if not isinstance(seen, Tensor) or seen.shape != y.shape:
            shape = tuple(seen.shape) if isinstance(seen, Tensor) else type(seen).__name__
            raise UserError(
                f"the operator turns images {tuple(x.shape)} into {shape}, but `y` is "
                f"{tuple(y.shape)}: give an output of this operator as `y`"
            )
        if not seen.requires_grad and not (self.linear and self.transpose):
            raise UserError(
                "the operator's output has no gradient: compute it by functions of torch that "
                "autograd can differentiate"
            )
        if not self.linear:
            return
        draw = torch.Generator().manual_seed(0)
        a, b = (torch.randn(x.shape, generator=draw).to(x) for _ in range(2))
        v = torch.randn(y.shape, generator=draw).to(y)
        with torch.no_grad():
            apart = self.forward(2 * a - 3 * b) - 2 * self.forward(a) + 3 * self.forward(b)
            scale = self.forward(a).norm() + self.forward(b).norm()
        if apart.norm() > TOLERANCE * scale:
            raise UserError(
                "the operator is not linear: pass Operator(..., linear=False) and the method dps"
            )
        left, right = (self.forward(a) * v).sum(), (a * self.adjoint(v, x)).sum()
        if (left - right).abs() > TOLERANCE * self.forward(a).norm() * v.norm():
            raise UserError(
                f"the operator's transpose is not its adjoint (<A x, y> is {left:.4g} and <x, A^T "
                f"y> is {right:.4g}): leave out `transpose`, and autograd computes it"
            )


def mask(known: Tensor) -> Operator:
    """Return the operator that keeps the pixels where ``known`` is 1, and sets the others to 0.

    ``known`` has values 0 and 1, and the shape (c, H, W) or (B, c, H, W), where c is 1 or C.
    """
    if on_cpu(known) and not ((known == 0) | (known == 1)).all():  # other devices would be slow
        raise UserError(
            "the mask of an operator has values other than 0 and 1: give 1 where pixels are known, "
            "and 0 elsewhere"
        )
    there = _copied(known)
    return Operator(lambda x: x * there(x))


def average(factor: int) -> Operator:
    """Return the operator that shrinks images to the means of ``factor x factor`` blocks."""
    return Operator(lambda x: F.avg_pool2d(x, _whole(factor, x)))


def bicubic(factor: int) -> Operator:
    """Return the bicubic, antialiased operator that shrinks images by an integer factor."""

    def forward(x: Tensor) -> Tensor:
        size = [side // _whole(factor, x) for side in x.shape[2:]]
        return F.interpolate(x, size, mode="bicubic", antialias=True, align_corners=False)

    return Operator(forward)


def blur(sigma: float) -> Operator:
    """Return the operator that blurs images by a Gaussian with standard deviation ``sigma``.

    ``sigma`` is in pixels. The Gaussian is truncated at 3 sigma, and images are reflected at their
    borders.
    """
    if not 0 < sigma < math.inf:
        raise UserError(f"the `sigma` of a blur is {sigma:g}: choose more than 0 pixels")
    reach = max(1, round(3 * sigma))
    weights = torch.exp(-torch.arange(-reach, reach + 1).float().square() / (2 * sigma**2))
    there = _copied(weights / weights.sum())

    def forward(x: Tensor) -> Tensor:
        if reach >= min(x.shape[2:]):
            raise UserError(
                f"a blur of {sigma:g} pixels reaches {reach} pixels, too far for images of "
                f"{x.shape[2]}x{x.shape[3]} (height x width): choose a smaller `sigma`"
            )
        row = there(x).expand(x.shape[1], 1, 1, -1)
        x = F.conv2d(F.pad(x, (reach, reach, 0, 0), "reflect"), row, groups=x.shape[1])
        down = row.transpose(2, 3)
        return F.conv2d(F.pad(x, (0, 0, reach, reach), "reflect"), down, groups=x.shape[1])

    return Operator(forward)


def grey() -> Operator:
    """Return the operator that reduces RGB images to their brightness (B, 1, H, W).

    The brightness is 0.299 R + 0.587 G + 0.114 B.
    """
    there = _copied(torch.tensor(GREY).view(3, 1, 1))
    return Operator(lambda x: (x * there(x)).sum(1, keepdim=True))


def _copied(constant: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a cached function of x that returns ``constant`` in x's type and on x's device."""

    @cache
    def there(device: torch.device, dtype: torch.dtype) -> Tensor:
        with torch.inference_mode(False):  # so that it may be used with gradients too
            return constant.to(device, dtype)

    return lambda x: there(x.device, x.dtype)


def _whole(factor: int, x: Tensor) -> int:
    """Return ``factor``. Raises UserError if ``factor`` is below 2 or does not divide x's sides."""
    if factor < 2 or any(side % factor for side in x.shape[2:]):
        height, width = x.shape[2:]
        raise UserError(
            f"images of {height}x{width} (height x width) cannot be made {factor} times smaller: "
            "choose a `factor` of 2 or more that divides both sides"
        )
    return factor


OPERATORS: Registry[Callable[..., Operator]] = Registry(
    "operator",
    {"mask": mask, "average": average, "bicubic": bicubic, "blur": blur, "grey": grey},
)
