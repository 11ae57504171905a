"""An entry of SAMPLERS: a method, its cost, and the checks that every method needs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from mezzotint.diffusion.finite import Finite
from mezzotint.diffusion.level import Level, falls
from mezzotint.diffusion.prediction import Denoiser
from mezzotint.errors import UserError, counted, nearest


@dataclass(frozen=True)
class Sampler:
    """A sampling method, ``method(denoise, x, grid, ..., randn=) -> x``, and its cost.

    The method walks x along the grid. Its other parameters are options and need defaults; a
    parameter ``randn`` receives the source of noise.

    Attributes:
        method: The function that walks x along the grid.
        order: The global error is proportional to this power of the step's length. For a stochastic
            method, it is the order in the limit of no noise.
        stochastic: Whether the method draws noise with its default options.
        calls: The denoiser calls per step. The last step, to the clean level, always needs one
            call.
        least: The fewest steps with which the method reaches its order.
        few_step: Whether the method needs the denoiser of a few-step model, which returns the clean
            image at the end of the probability flow. Every other method needs the mean of x0.
    """

    method: Callable[..., Tensor]
    order: int = 1
    stochastic: bool = False
    calls: int = 1
    least: int = 1
    few_step: bool = False

    def __post_init__(self) -> None:
        for name, default in self.options.items():
            if default is inspect.Parameter.empty:
                raise UserError(f"the sampler's option {name!r} has no default: give it one")

    def __call__(
        self, denoise: Denoiser, x: Tensor, grid: list[Level], *, grad: bool = False, **options: Any
    ) -> Tensor:
        """Walk x from ``grid[0]`` to ``grid[-1]``.

        Args:
            denoise: ``denoise(x, level) -> x0_hat``, in the shape of x.
            x: A batch at the level ``grid[0]``, (B, ...); for sampling, standard normal noise.
            grid: Two levels or more, strictly falling in noise.
            grad: Whether to keep the autograd graph, to differentiate the result with respect to x
                or the weights. The memory then grows in proportion to the number of steps.
            **options: The options of the method, and ``randn(x) -> z``, the source of standard
                normal noise (torch.randn_like by default). A method that draws no noise ignores
                ``randn``.

        Returns:
            The batch at the level ``grid[-1]``, in the shape of x.

        Raises:
            UserError: If the noise does not fall along the grid, the method lacks a given option,
                or the denoiser or the method returns a tensor that is not finite or not in x's
                shape.
        """
        if not falls(grid):
            raise UserError(
                "`grid` must have two levels or more, strictly falling in noise: make it with "
                "schedule.grid"
            )
        takes = inspect.signature(self.method).parameters
        given = {name: value for name, value in options.items() if name in takes or name != "randn"}
        for name in given.keys() - {"randn"}:
            self.check(name)
        finite = Finite()
        with torch.set_grad_enabled(grad):
            made = self.method(finite.checked(denoise), x, grid, **given)
        return finite.result(made, x)

    @cached_property
    def options(self) -> dict[str, Any]:
        """The method's options and their defaults: its parameters after the first three."""
        bound = self.method.keywords if isinstance(self.method, partial) else {}
        parameters = list(inspect.signature(self.method).parameters.values())[3:]
        named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        return {p.name: p.default for p in named if p.name not in ("randn", *bound)}

    def check(self, option: str) -> None:
        """Raise UserError unless the method has the option."""
        if option not in self.options:
            takes = f"it takes {', '.join(self.options)}" if self.options else "it takes none"
            raise UserError(
                f"this sampler has no option {option!r}: {takes}{nearest(option, self.options)}"
            )

    def cost(self, steps: int) -> int:
        """Return the number of denoiser calls for ``steps`` steps to the clean level."""
        return self.calls * (steps - 1) + 1

    def steps(self, calls: int) -> int:
        """Return the largest number of steps that a budget of denoiser calls allows.

        Raises UserError if the budget is too small for the method.
        """
        if calls < self.cost(self.least):
            raise UserError(
                f"a budget of {calls} denoiser calls is too small for the sampler: give "
                f"{self.cost(self.least)} or more, enough for {counted(self.least, 'step')}"
            )
        return (calls - 1) // self.calls + 1
