"""Guidance: wrappers of a denoiser that return a denoiser, and the scales they guide by.

Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598) extrapolates from what the network
says without labels to what it says with them,

    x0_hat = x0_u + scale * (x0_c - x0_u)

Scale 1 is plain conditional, 0 unconditional; the paper's w is scale - 1. The weights sum to 1 and
every prediction type is affine in x0_hat, so guiding eps, v or flow instead gives the same. With a
weaker network in the place of the unconditional one it is autoguidance (Karras et al. 2024, arXiv
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
from mezzotint.errors import UserError

Scale: TypeAlias = float | Callable[[Level], float]
"""A guidance scale: one number, or one for each level."""

Both: TypeAlias = Callable[[Tensor, Level], tuple[Tensor, Tensor]]
"""``both(x, level) -> (x0_c, x0_u)`` in one call."""


def guide(
    cond: Denoiser,
    uncond: Denoiser,
    scale: Scale,
    rescale: float = 0.0,
    both: Both | None = None,
) -> Denoiser:
    """Guide one denoiser away from another, by one call of each or by one of ``both``.

    Where the scale is 1 or 0 only the one that counts is called. ``rescale`` in [0, 1] is how far
    the standard deviation of each guided x0_hat is brought back to that of the conditional one,
    against over-exposure (Lin et al. 2024, arXiv 2305.08891, eqs. 15 and 16). Raises UserError for
    another.
    """
    if not 0 <= rescale <= 1:
        raise UserError(f"rescale is {rescale:g}: choose 0 to 1")

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
    """``both`` of a denoiser that takes a doubled batch, first half conditional."""

    def both(x: Tensor, level: Level) -> tuple[Tensor, Tensor]:
        cond, uncond = pair(torch.cat([x, x]), level).chunk(2)
        return cond, uncond

    return both


# Scales that vary along a grid.


def constant(scale: float, grid: Sequence[Level]) -> Scale:
    """The same at every level."""
    return scale


def linear(scale: float, grid: Sequence[Level]) -> Scale:
    """``1 + (scale - 1) * 2u``, u rising from 0 at the grid's first t to 1 at t = 0.

    Its mean is ``scale`` (Wang et al. 2024, arXiv 2404.13040).
    """
    return lambda level: 1 + (scale - 1) * 2 * _share(level, grid)


def cosine(scale: float, grid: Sequence[Level]) -> Scale:
    """``1 + (scale - 1) * (1 - cos(pi u))``: as `linear`, flat at both ends."""
    return lambda level: 1 + (scale - 1) * (1 - math.cos(math.pi * _share(level, grid)))


def _share(level: Level, grid: Sequence[Level]) -> float:
    return 1 - level.t / grid[0].t if grid[0].t > 0 else 1.0


def cfgpp(scale: float, grid: Sequence[Level]) -> Scale:
    """CFG++: the guided x0_hat, renoised with the unconditional eps_hat.

    DDIM's ``x_s = alpha_s * x0_g + sigma_s * eps_u`` is DDIM's own step at the scale
    ``scale / (1 - exp(-h))``, h being the step in lambda: the same thing as a scale along the
    grid, which any sampler can take that keeps to the grid. ``scale`` is the paper's lambda, in
    [0, 1] (Chung et al. 2024, arXiv 2406.08070).
    """

    def at(level: Level) -> float:
        cleaner = (s.lam for s in grid if s.lam > level.lam + 1e-9)
        return scale / -math.expm1(level.lam - next(cleaner, math.inf))

    return at


SHAPES: dict[str, Callable[[float, Sequence[Level]], Scale]] = {
    "constant": constant,
    "linear": linear,
    "cosine": cosine,
    "cfg++": cfgpp,
}


def interval(scale: Scale, low: float, high: float, grid: Sequence[Level]) -> Scale:
    """The scale where ``low <= sigma / alpha <= high``, and 1 elsewhere.

    Kynkäänniemi et al. 2024, arXiv 2404.07724. Raises UserError where the grid has no level there.
    """

    def inside(level: Level) -> bool:
        return low * level.alpha <= level.sigma <= high * level.alpha

    if not any(inside(level) for level in grid[:-1]):
        there = [f"{level.sigma / level.alpha:.3g}" for level in grid[:-1] if level.alpha]
        raise UserError(
            f"no level of the grid has {low:g} <= sigma / alpha <= {high:g}: "
            f"they are {', '.join([*there[:3], '...', *there[-2:]] if len(there) > 6 else there)}"
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
    """The scale along a grid, of one of SHAPES, and only on an interval if there is one."""
    scaled = SHAPES[shape](scale, grid)
    return interval(scaled, *within, grid) if within else scaled


# Clipping: outermost, so after guidance.


def clip(denoise: Denoiser) -> Denoiser:
    """Clamp x0_hat to [-1, 1], where pixels live."""
    return lambda x, level: denoise(x, level).clamp(-1, 1)


def threshold(denoise: Denoiser, share: float = 0.995) -> Denoiser:
    """Clamp each x0_hat to [-s, s] and divide by s, the quantile of its |x0_hat|, 1 or more.

    Dynamic thresholding (Saharia et al. 2022, arXiv 2205.11487, section 2.3).
    """

    def clamped(x: Tensor, level: Level) -> Tensor:
        x0 = denoise(x, level)
        numbers = x0.abs().flatten(1)
        s = numbers.kthvalue(math.ceil(share * numbers.shape[1]), dim=1).values.clamp(min=1)
        s = s.view(-1, *[1] * (x0.ndim - 1))
        return x0.clamp(-s, s) / s

    return clamped


CLIPS: dict[str, Callable[[Denoiser], Denoiser]] = {
    "none": lambda denoise: denoise,
    "static": clip,
    "dynamic": threshold,
}
