"""Guidance and clipping: wrappers of a denoiser that return a denoiser.

Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598) scales the difference between the
network's estimates with and without a condition,

    x0_hat = x0_u + scale * (x0_c - x0_u)

where x0_c is the estimate with the condition and x0_u the estimate without. Scale 1 gives x0_c, and
0 gives x0_u; the authors' w is scale - 1. The weights of x0_c and x0_u sum to 1 and every
prediction type is affine in x0_hat, so guidance of eps, v or flow has the same effect. If x0_u
comes from a weaker network instead, this is autoguidance (Karras et al. 2024, arXiv 2406.02507).
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
"""A guidance shape, ``shape(scale, grid) -> scale``: how the scale varies along a grid."""

Clipping: TypeAlias = Callable[[Denoiser], Denoiser]
"""``clipping(denoise) -> denoise``: the new denoiser brings the estimates into range."""

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
        cond: The denoiser to guide towards, x0_c: usually the conditional denoiser.
        uncond: The denoiser to guide away from, x0_u: the unconditional denoiser, or
            the denoiser of a weaker network.
        scale: The guidance scale, or a function ``scale(level)``. 1 is ``cond`` alone, 0 is
            ``uncond`` alone.
        rescale: In [0, 1]: how far to bring the standard deviation of each guided x0_hat back to
            the standard deviation of x0_c, which prevents over-exposure (Lin et al. 2024, arXiv
            2305.08891, eqs. 15 and 16).
        both: A function that computes both estimates in one call, ``both(x, level) -> (x0_c,
            x0_u)``; None calls the two denoisers.

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
    """Return the argument ``both`` of `guide`: a function that calls ``pair`` with two copies of x.

    The two copies form one batch. The denoiser ``pair`` must be conditional for the first half
    of this batch, and unconditional for the second half.
    """

    def both(x: Tensor, level: Level) -> tuple[Tensor, Tensor]:
        cond, uncond = pair(torch.cat([x, x]), level).chunk(2)
        return cond, uncond

    return both


# Guidance shapes: functions that say how the guidance scale varies along a grid.


def constant(scale: float, grid: Sequence[Level]) -> Scale:
    """Return the same scale for every level of the grid."""
    return scale


def linear(scale: float, grid: Sequence[Level]) -> Scale:
    """Return ``1 + (scale - 1) * 2u``, where u rises from 0 at the grid's first t to 1 at t = 0.

    The mean of this scale over t is ``scale`` (Wang et al. 2024, arXiv 2404.13040).
    """
    return lambda level: 1 + (scale - 1) * 2 * _share(level, grid)


def cosine(scale: float, grid: Sequence[Level]) -> Scale:
    """Return ``1 + (scale - 1) * (1 - cos(pi u))``, with u as in `linear`.

    This scale is flat at both ends. Its mean over t is ``scale``, as for `linear`.
    """
    return lambda level: 1 + (scale - 1) * (1 - math.cos(math.pi * _share(level, grid)))


def _share(level: Level, grid: Sequence[Level]) -> float:
    """Return u, which rises from 0 at the grid's first t to 1 at t = 0."""
    return 1 - level.t / grid[0].t if grid[0].t > 0 else 1.0


def cfgpp(scale: float, grid: Sequence[Level]) -> Scale:
    """Return a scale that makes each DDIM step equal to a step of CFG++.

    CFG++ adds the unconditional noise estimate eps_u to the guided estimate x0_g: ``x_s = alpha_s *
    x0_g + sigma_s * eps_u``. DDIM makes the same step at the scale ``scale / (1 - exp(-h))``, where
    h is the length of the step in ``ln(alpha / sigma)``. So CFG++ is guidance with a scale that
    varies along the grid. Any sampler that visits only levels of the grid can use this scale.
    ``scale``, in [0, 1], is called lambda by the authors (Chung et al. 2024, arXiv 2406.08070).
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
    """Return ``scale`` where ``low <= sigma / alpha <= high``, and 1 elsewhere.

    See Kynkäänniemi et al. 2024, arXiv 2404.07724. Raises UserError if no noisy level of the grid
    is in the interval.
    """

    def inside(level: Level) -> bool:
        return low * level.alpha <= level.sigma <= high * level.alpha

    if not any(inside(level) for level in grid[:-1]):
        there = [f"{level.sigma / level.alpha:.3g}" for level in grid[:-1] if level.alpha]
        shown = [*there[:3], "...", *there[-2:]] if len(there) > 6 else there
        raise UserError(
            f"no level of the grid has {low:g} <= sigma / alpha <= {high:g}: choose an `interval` "
            f"that contains some of {', '.join(shown)}"
        )
    if scale == 1:
        return 1.0

    def at(level: Level) -> float:
        return 1.0 if not inside(level) else scale(level) if callable(scale) else scale

    return at


def along(
    grid: Sequence[Level],
    scale: float,
    shape: str = "constant",
    within: tuple[float, float] | None = None,
) -> Scale:
    """Return the guidance scale along a grid.

    ``shape`` is a name in GUIDANCE_SHAPES. If ``within`` is given, it is the ``(low, high)`` of
    `interval`; outside this interval, the scale is 1.
    """
    scaled = GUIDANCE_SHAPES[shape](scale, grid)
    return interval(scaled, *within, grid) if within else scaled


# Clipping wraps the guided denoiser: it comes after guidance.


def clip(denoise: Denoiser) -> Denoiser:
    """Return a denoiser whose x0_hat is clamped to [-1, 1], the range of pixels."""
    return lambda x, level: denoise(x, level).clamp(-1, 1)


def threshold(denoise: Denoiser, share: float = DYNAMIC) -> Denoiser:
    """Return a denoiser whose x0_hat is clamped to [-s, s] and divided by s.

    s is the ``share`` quantile of |x0_hat| in each image, but at least 1. This is dynamic
    thresholding (Saharia et al. 2022, arXiv 2205.11487, section 2.3).
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
