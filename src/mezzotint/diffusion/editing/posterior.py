"""Methods that turn a denoiser into a posterior denoiser, given ``y = A x0 + noise``.

Each method wraps a denoiser, and every sampler can use the result. The new denoiser estimates
``E[x0 | x_t, y]``. By Tweedie's formula, this mean is

    x0_hat + sigma^2 / alpha * grad log p(y | x_t)

The methods differ in their approximations of p(y | x_t). J is the Jacobian of x0_hat with respect
to x_t; only its products with vectors are computed. If the denoiser is exact, ``V = sigma^2 / alpha
* J`` is the covariance of x0 given x_t.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mezzotint.diffusion.editing.conjugate import solve
from mezzotint.diffusion.editing.operators import Operator
from mezzotint.diffusion.level import Level
from mezzotint.diffusion.prediction import Denoiser
from mezzotint.errors import Registry

ROUNDED = 2 / 255 / 12**0.5  # standard deviation of the rounding of an image to bytes
LONG = 100  # most iterations of conjugate gradients if they do not call the network


@dataclass(frozen=True)
class Observation:
    """The observation of an image.

    Attributes:
        y: The observation, (B, ...).
        operator: The operator A.
        noise: The standard deviation of the noise of y, 0 or more.
    """

    y: Tensor
    operator: Operator
    noise: float = 0.0


Product = Callable[[Tensor], Tensor]
"""``v -> J^T v``, a product with a matrix that is not computed itself."""

Posterior = Callable[[Denoiser, Observation, Sequence[Level]], Denoiser]
"""``method(denoise, observation, grid) -> denoise``."""


def ddnm(denoise: Denoiser, seen: Observation, grid: Sequence[Level]) -> Denoiser:
    """Return a denoiser with the estimate ``x0_hat + A^+ (y - A x0_hat)``.

    A^+ is the pseudoinverse of A. So y replaces the observed part of x0_hat, and the part in the
    null space of A is unchanged (Wang et al. 2022, arXiv 2212.00490, eq. 13). The method is for
    observations without noise, and needs no gradient of the network.
    """

    def estimate(x: Tensor, level: Level) -> Tensor:
        x0 = denoise(x, level)
        return x0 + pseudoinverse(seen.operator, seen.y - seen.operator(x0), x0)

    return estimate


def pseudoinverse(operator: Operator, y: Tensor, like: Tensor) -> Tensor:
    """Return ``A^+ y`` for a linear operator A, in the shape of the images ``like``.

    It solves ``A^T A x = A^T y``, which has a solution even if no image gives y.
    """

    def normal(x: Tensor) -> Tensor:
        return operator.adjoint(operator(x), like)

    return solve(normal, operator.adjoint(y, like), LONG)


def pigdm(denoise: Denoiser, seen: Observation, grid: Sequence[Level]) -> Denoiser:
    """Return a denoiser that takes p(y | x_t) as ``N(A x0_hat, sigma^2 A A^T + noise^2)``.

    sigma^2 is the variance of x0 given x_t for data of unit variance (Song et al. 2023,
    "Pseudoinverse-guided diffusion models for inverse problems", section 3).
    """

    def variance(back: Tensor, level: Level, transposed: Product) -> Tensor:
        return level.sigma**2 * back

    return _gaussian(denoise, seen, variance, LONG)


def mmps(
    denoise: Denoiser, seen: Observation, grid: Sequence[Level], iterations: int = 3
) -> Denoiser:
    """Return a denoiser that takes p(y | x_t) as ``N(A x0_hat, A V A^T + noise^2)``.

    ``V = sigma^2 / alpha * J``, with the Jacobian J of x0_hat with respect to x_t, is the
    covariance of x0 given x_t. So this p(y | x_t) is exact for Gaussian x0.

    The gradient of log p(y | x_t) contains the inverse of ``A V A^T + noise^2`` times ``y - A
    x0_hat``. This product is approximated by ``iterations`` iterations of conjugate gradients. Each
    iteration needs one backward pass through the network, for a product with V (Rozet et al. 2024,
    arXiv 2405.13712, section 3).
    """

    def variance(back: Tensor, level: Level, transposed: Product) -> Tensor:
        return _tweedie(transposed, back, level)

    return _gaussian(denoise, seen, variance, iterations)


def dps(
    denoise: Denoiser, seen: Observation, grid: Sequence[Level], strength: float = 1.0
) -> Denoiser:
    """Return a denoiser that moves x0_hat against the gradient of ``|y - A x0_hat|``.

    The gradient is with respect to x_t, and A may be any differentiable function. Chung et al. 2022
    (arXiv 2209.14687, algorithm 1) subtract ``strength * gradient`` from the next x_s. This
    denoiser changes x0_hat so that a deterministic step changes x_s by the same vector.
    """

    def estimate(x: Tensor, level: Level) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            x0 = denoise(x, level)
            distance = (seen.y - seen.operator(x0)).flatten(1).norm(dim=1).sum()
            (gradient,) = torch.autograd.grad(distance, x)
        cleaner = next((s for s in grid if s.lam > level.lam + 1e-9), grid[-1])
        share = cleaner.alpha - cleaner.sigma * level.alpha / level.sigma
        return x0.detach() - strength / share * gradient

    return estimate


POSTERIORS: Registry[Posterior] = Registry(
    "posterior method", {"ddnm": ddnm, "pigdm": pigdm, "dps": dps, "mmps": mmps}
)


def _gaussian(
    denoise: Denoiser,
    seen: Observation,
    variance: Callable[[Tensor, Level, Product], Tensor],
    iterations: int,
) -> Denoiser:
    """Return a denoiser that approximates p(y | x_t) by ``N(A x0_hat, A S A^T + noise^2)``.

    S is any covariance: ``variance(v, level, transposed)`` returns the product ``S v``.
    ``transposed`` is the function ``u -> J^T u``, where J is the Jacobian of x0_hat with respect to
    x_t. If the observation's noise is below `ROUNDED`, `ROUNDED` is used in place of it.
    """
    noise = max(seen.noise, ROUNDED) ** 2

    def estimate(x: Tensor, level: Level) -> Tensor:
        x0, transposed = _with_jacobian(denoise, x, level)

        def covariance(u: Tensor) -> Tensor:
            back = seen.operator.adjoint(u, x0)
            return seen.operator(variance(back, level, transposed)) + noise * u

        u = solve(covariance, seen.y - seen.operator(x0), iterations)
        return x0 + _tweedie(transposed, seen.operator.adjoint(u, x0), level)

    return estimate


def _with_jacobian(denoise: Denoiser, x: Tensor, level: Level) -> tuple[Tensor, Product]:
    """Return x0_hat, and ``v -> J^T v``, where J is the Jacobian of x0_hat with respect to x."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        x0 = denoise(x, level)

    def transposed(v: Tensor) -> Tensor:
        return torch.autograd.grad(x0, x, v, retain_graph=True)[0]

    return x0.detach(), transposed


def _tweedie(transposed: Product, v: Tensor, level: Level) -> Tensor:
    """Return ``sigma^2 / alpha * J^T v``, with the Jacobian J of x0_hat with respect to x_t.

    ``transposed`` is the function ``v -> J^T v``. At alpha 0, J is 0 and so is the result.
    """
    return level.sigma**2 / level.alpha * transposed(v) if level.alpha else torch.zeros_like(v)
