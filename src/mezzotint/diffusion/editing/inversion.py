"""Inversion: find the noise from which a deterministic sampler makes given images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from mezzotint.diffusion.level import Level
from mezzotint.diffusion.prediction import Denoiser
from mezzotint.diffusion.samplers.step import eps
from mezzotint.errors import UserError


def invert(
    denoise: Denoiser,
    x: Tensor,
    grid: Sequence[Level],
    corrections: int = 10,
    tolerance: float = 1e-5,
) -> Tensor:
    """Carry images from the last level of a grid to its first, by DDIM's steps in reverse.

    A DDIM step from a level t to a cleaner level s is ``x_s = alpha_s x0_hat + sigma_s eps_hat``,
    with both estimates made at x_t. So x_t solves ``x_t = a x_s + b eps_hat(x_t, t)``, with ``a =
    alpha_t / alpha_s`` and ``b = sigma_t - a sigma_s``. Song et al. 2020 (arXiv 2010.02502, section
    5.3) take eps_hat at x_s instead of x_t. This function starts with that value and iterates to
    the fixed point.

    Args:
        denoise: ``denoise(x, level) -> x0_hat``.
        x: Images at the level ``grid[-1]``, (B, ...).
        grid: Levels of falling noise, as for a sampler.
        corrections: The largest number of fixed-point iterations per step, each with one call of
            the denoiser; 0 is Song's approximation.
        tolerance: The iterations for an image end once the root mean square of its change is at
            most ``tolerance``.

    Returns:
        The batch at the level ``grid[0]``. From there, `ddim` with eta 0 leads back to the images,
        exactly if the iterations converged.

    Raises:
        UserError: If ``corrections`` is negative.
    """
    if corrections < 0:
        raise UserError(f"`corrections` is {corrections}: choose 0 or more")
    with torch.no_grad():
        for s, t in pairwise(reversed(grid)):
            x = _step(denoise, x, s, t, corrections, tolerance)
    return x


def _step(
    denoise: Denoiser, x: Tensor, s: Level, t: Level, corrections: int, tolerance: float
) -> Tensor:
    """Return x at the noisier level t, from x at level s: one step of `invert`."""
    a = t.alpha / s.alpha
    b = t.sigma - a * s.sigma

    def up(guess: Tensor, level: Level) -> Tensor:
        return a * x + b * eps(guess, denoise(guess, level), level)

    # The network is not called at the clean level. There the first guess is without noise.
    guess = up(x, s) if s.sigma else a * x
    best, least = guess, torch.full(_each(x), torch.inf, device=x.device)
    for _ in range(corrections + (not s.sigma)):
        new = up(guess, t)
        change = (new - guess).flatten(1).square().mean(1).sqrt().view(_each(x))
        better = change < least  # if the iterations diverge, the best guess is kept
        best, least = torch.where(better, new, best), torch.where(better, change, least)
        if (least <= tolerance).all():
            break
        guess = torch.where(least > tolerance, new, guess)
    return best


def _each(x: Tensor) -> tuple[int, ...]:
    """Return the shape of a tensor with one number for each image of x: (B, 1, ..., 1)."""
    return (len(x), *[1] * (x.ndim - 1))


def slerp(a: Tensor, b: Tensor, weight: float | Tensor) -> Tensor:
    """Interpolate noises along the sphere: ``(sin((1 - w) phi) a + sin(w phi) b) / sin(phi)``.

    phi is the angle between a and b. The result has the length of standard normal noise; on a
    straight line between a and b it would be shorter (Shoemake 1985).

    Args:
        a: A batch of noises, (B, ...).
        b: Another batch of noises, in the shape of a.
        weight: w, the place between a (0) and b (1): a number, or a tensor that broadcasts against
            a and b.

    Returns:
        The interpolated noises, in the shape of a.
    """
    flat_a, flat_b = a.flatten(1), b.flatten(1)
    cosine = torch.cosine_similarity(flat_a, flat_b, dim=1).clamp(-1, 1).view(_each(a))
    phi = torch.arccos(cosine)
    near = phi.sin() < 1e-4  # a and b are parallel, so a straight line is on the sphere
    scale = torch.where(near, 1.0, phi.sin())
    of_a = torch.where(near, 1 - weight, torch.sin((1 - weight) * phi) / scale)
    of_b = torch.where(near, torch.zeros_like(phi) + weight, torch.sin(weight * phi) / scale)
    return of_a * a + of_b * b
