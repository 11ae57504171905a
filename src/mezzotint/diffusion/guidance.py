"""Guidance and clipping: wrappers of a denoiser that return a denoiser.

Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598) extrapolates from the network's
estimate without a condition to its estimate with one,

    x0_hat = x0_u + scale * (x0_c - x0_u)

Scale 1 is plain conditional, 0 unconditional; the authors' w is scale - 1. The weights sum to 1 and
every prediction type is affine in x0_hat, so guidance of eps, v or flow has the same effect. With a
weaker network instead of the unconditional one, this is autoguidance (Karras et al. 2024, arXiv
2406.02507).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from mezzotint.diffusion.level import Level
from mezzotint.diffusion.prediction import Denoiser
from mezzotint.errors import Registry, UserError

Scale: TypeAlias = float | Callable[[Level], float]
"""A guidance scale: one number, or a function of the level."""

Both: TypeAlias = Callable[[Tensor, Level], tuple[Tensor, Tensor]]
"""``both(x, level) -> (x0_c, x0_u)`` in one call of the network."""

Shape: TypeAlias = Callable[[float, Sequence[Level]], Scale]
"""``shape(scale, grid) -> scale``: how the scale varies along a grid."""

Clipping: TypeAlias = Callable[[Denoiser], Denoiser]
"""``clipping(denoise) -> denoise``, whose estimates are brought into range."""

DYNAMIC = 0.995  # the quantile of dynamic clipping


def guide(
    cond: Denoiser,
    uncond: Denoiser,
    scale: Scale,
    rescale: float = 0.0,
    both: Both | None = None,
) -> Denoiser:
    """Guide one denoiser away from another: ``x0_u + scale * (x0_c - x0_u)``.

    If the scale is 1 or 0 at a level, only the denoiser with a nonzero weight is called.

    Args:
        cond: The denoiser to guide towards, x0_c: usually the conditional one.
        uncond: The denoiser to guide away from, x0_u: the unconditional one, or the denoiser of a
            weaker network.
        scale: The guidance scale, or a function ``scale(level)``. 1 is ``cond`` alone, 0 is
            ``uncond`` alone.
        rescale: In [0, 1]: how far to bring the standard deviation of each guided x0_hat back to
            that of x0_c, which prevents over-exposure (Lin et al. 2024, arXiv 2305.08891, eqs. 15
            and 16).
        both: Computes both estimates in one call, if that is possible.

    Returns:
        The guided denoiser.

    Raises:
        UserError: If ``rescale`` is outside [0, 1].

    Example:
        ``guided = mz.guide(mz.denoiser(net, "v", labels), mz.denoiser(net, "v"), scale=3.0)``
    """
    if not 0 <= rescale <= 1:
        raise UserError(f"`rescale` is {rescale:g}: choose 0 to 1")

    def denoise(x: Tensor, level: Level) -> Tensor:
        w = scale(level) if callable(scale) else scale
        if w in (0, 1):
            return cond(x, level) if w else uncond(x, level)
        c, u = both(x, level) if both else (cond(x, level), uncond(x, level))
        guided = u + w * (c - u)
        if not rescale:
            return guided
        each = tuple(range(1, x.ndim))
        back = c.std(each, keepdim=True) / guided.std(each, keepdim=True)
        return guided * (1 + rescale * (back - 1))

    return denoise


def doubled(pair: Denoiser) -> Both:
    """Make ``both`` for `guide` from a denoiser of doubled batches, conditional half first."""

    def both(x: Tensor, level: Level) -> tuple[Tensor, Tensor]:
        cond, uncond = pair(torch.cat([x, x]), level).chunk(2)
        return cond, uncond

    return both


# Shapes: how the scale varies along a grid.


def constant(scale: float, grid: Sequence[Level]) -> Scale:
    """Return a shape with the same scale at every level."""
    return scale


def linear(scale: float, grid: Sequence[Level]) -> Scale:
    """``1 + (scale - 1) * 2u``, where u rises from 0 at the grid's first t to 1 at t = 0.

    Its mean over t is ``scale`` (Wang et al. 2024, arXiv 2404.13040).
    """
    return lambda level: 1 + (scale - 1) * 2 * _share(level, grid)


def cosine(scale: float, grid: Sequence[Level]) -> Scale:
    """``1 + (scale - 1) * (1 - cos(pi u))``: like `linear`, but flat at both ends."""
    return lambda level: 1 + (scale - 1) * (1 - math.cos(math.pi * _share(level, grid)))


def _share(level: Level, grid: Sequence[Level]) -> float:
    return 1 - level.t / grid[0].t if grid[0].t > 0 else 1.0


def cfgpp(scale: float, grid: Sequence[Level]) -> Scale:
    """CFG++: the guided x0_hat, renoised with the unconditional eps_hat.

    CFG++ makes the step ``x_s = alpha_s * x0_g + sigma_s * eps_u``. That is DDIM's step at the
    scale ``scale / (1 - exp(-h))``, where h is the step in lambda. So it is a scale along the grid,
    for any sampler that visits only levels of the grid. ``scale`` is the authors' lambda, in [0, 1]
    (Chung et al. 2024, arXiv 2406.08070).
    """

    def at(level: Level) -> float:
        cleaner = (s.lam for s in grid if s.lam > level.lam + 1e-9)
        return scale / -math.expm1(level.lam - next(cleaner, math.inf))

    return at


GUIDANCE_SHAPES: Registry[Shape] = Registry(
    "guidance shape",
    {"constant": constant, "linear": linear, "cosine": cosine, "cfg++": cfgpp},
)


def interval(scale: Scale, low: float, high: float, grid: Sequence[Level]) -> Scale:
    """Apply a scale only where ``low <= sigma / alpha <= high``; elsewhere the scale is 1.

    Kynkäänniemi et al. 2024, arXiv 2404.07724. Raises UserError if no level of the grid is inside.
    """

    def inside(level: Level) -> bool:
        return low * level.alpha <= level.sigma <= high * level.alpha

    if not any(inside(level) for level in grid[:-1]):
        there = [f"{level.sigma / level.alpha:.3g}" for level in grid[:-1] if level.alpha]
        shown = [*there[:3], "...", *there[-2:]] if len(there) > 6 else there
        raise UserError(
            f"no level of the grid has {low:g} <= sigma / alpha <= {high:g}: choose an `interval` "
            f"around {', '.join(shown)}"
        )

    def at(level: Level) -> float:
        return 1.0 if not inside(level) else scale(level) if callable(scale) else scale

    return at


def along(
    grid: Sequence[Level],
    scale: float,
    shape: str = "constant",
    within: tuple[float, float] | None = None,
) -> Scale:
    """Return the scale along a grid, in a shape of GUIDANCE_SHAPES, within an interval if given."""
    scaled = GUIDANCE_SHAPES[shape](scale, grid)
    return interval(scaled, *within, grid) if within else scaled


# Clipping wraps the guided denoiser: it comes after guidance.


def clip(denoise: Denoiser) -> Denoiser:
    """Clamp x0_hat to [-1, 1], the range of pixels."""
    return lambda x, level: denoise(x, level).clamp(-1, 1)


def threshold(denoise: Denoiser, share: float = DYNAMIC) -> Denoiser:
    """Clamp each x0_hat to [-s, s] and divide by s, a quantile of |x0_hat| that is at least 1.

    Dynamic thresholding (Saharia et al. 2022, arXiv 2205.11487, section 2.3).
    """

    def clamped(x: Tensor, level: Level) -> Tensor:
        x0 = denoise(x, level)
        numbers = x0.abs().flatten(1)
        s = numbers.kthvalue(math.ceil(share * numbers.shape[1]), dim=1).values.clamp(min=1)
        s = s.view(-1, *[1] * (x0.ndim - 1))
        return x0.clamp(-s, s) / s

    return clamped


CLIPPINGS: Registry[Clipping] = Registry(
    "clipping", {"none": lambda denoise: denoise, "static": clip, "dynamic": threshold}
)
