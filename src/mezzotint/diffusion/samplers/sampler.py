"""What every entry of SAMPLERS says of its method, and checks before it runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from mezzotint.diffusion.level import Level
from mezzotint.diffusion.prediction import Denoiser
from mezzotint.errors import UserError


@dataclass(frozen=True)
class Sampler:
    """A method, ``sampler(denoise, x, grid, ..., randn=) -> x``, and what it costs.

    ``order``: the global error falls as the step to this power (of a stochastic method, as its
    noise goes to 0). ``calls``: denoiser calls a step; the last, to the clean level, takes one.
    """

    method: Callable[..., Tensor]
    order: int = 1
    stochastic: bool = False
    calls: int = 1
    least: int = 1  # steps to the clean level in which it comes to its order

    def __call__(self, denoise: Denoiser, x: Tensor, grid: list[Level], **options: Any) -> Tensor:
        """Walk x from ``grid[0]`` to ``grid[-1]``.

        ``randn(x) -> z`` is where noise comes from, passed on where the method draws any. Raises
        UserError for a grid that does not strictly fall in noise, an option that the method does
        not have, and an x0_hat that is not finite.
        """
        falls = [b.sigma * a.alpha < a.sigma * b.alpha for a, b in pairwise(grid)]
        if not falls or not all(falls):
            raise UserError("a grid is two levels or more, strictly falling in noise")
        takes = inspect.signature(self.method).parameters
        given = {name: value for name, value in options.items() if name in takes or name != "randn"}
        if unknown := [name for name in given if name not in (*self.options, "randn")]:
            known = f"it takes {', '.join(self.options)}" if self.options else "it takes no options"
            raise UserError(f"this sampler has no option {unknown[0]!r}: {known}")
        return self.method(_finite(denoise), x, grid, **given)

    @cached_property
    def options(self) -> tuple[str, ...]:
        """The names of what the method takes besides denoiser, x, grid and randn."""
        bound = self.method.keywords if isinstance(self.method, partial) else {}
        names = list(inspect.signature(self.method).parameters)[3:]
        return tuple(name for name in names if name != "randn" and name not in bound)

    def cost(self, steps: int) -> int:
        """Denoiser calls of so many steps to the clean level."""
        return self.calls * (steps - 1) + 1

    def steps(self, calls: int) -> int:
        """The most steps that a budget of denoiser calls allows.

        Raises UserError for a budget below what the method needs.
        """
        if calls < self.cost(self.least):
            raise UserError(
                f"a budget of {calls} denoiser calls is below what the sampler needs: "
                f"{self.cost(self.least)}, for {self.least} steps"
            )
        return (calls - 1) // self.calls + 1


def _finite(denoise: Denoiser) -> Denoiser:
    def checked(x: Tensor, level: Level) -> Tensor:
        x0 = denoise(x, level)
        if not torch.isfinite(x0).all():
            raise UserError(
                f"the network's answer is not finite at t = {level.t:g} (alpha {level.alpha:.4g}, "
                f"sigma {level.sigma:.4g}): lower the guidance, or take an earlier checkpoint"
            )
        return x0

    return checked
