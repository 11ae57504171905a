"""Check that the estimates of a denoiser are finite, without slowing down a sampler."""

from __future__ import annotations

import torch
from torch import Tensor

from mezzotint.devices import on_cpu
from mezzotint.diffusion.level import Level
from mezzotint.diffusion.prediction import Denoiser
from mezzotint.errors import UserError


class Finite:
    """A check that the estimates x0_hat of a denoiser, and the result of a sampler, are finite.

    To read the result of a check, the CPU must wait for the GPU. So the results of all steps are
    read together, after the last step.
    """

    def __init__(self) -> None:
        self.answers: list[tuple[Level | None, Tensor]] = []

    def checked(self, denoise: Denoiser) -> Denoiser:
        """Wrap a denoiser: check the shape of its estimates, and note whether they are finite."""

        def estimate(x: Tensor, level: Level) -> Tensor:
            x0 = denoise(x, level)
            if x0.shape != x.shape:  # broadcasting would hide the mistake
                raise UserError(
                    f"the denoiser's estimate has the shape {tuple(x0.shape)}: return it in the "
                    f"shape of x, {tuple(x.shape)}"
                )
            self.note(x0, level)
            return x0

        return estimate

    def note(self, x0: Tensor, level: Level | None) -> None:
        """Check that an estimate, or the sampler's result if ``level`` is None, is finite.

        If it is not, UserError is raised: on a CPU at once, on other devices by the next `check`.
        """
        self.answers.append((level, torch.isfinite(x0).all()))
        if on_cpu(x0):
            self.check()

    def result(self, made: object, x: Tensor) -> Tensor:
        """Return the result of a sampler that started from x.

        Raises UserError if the result or an estimate is not finite, or the result is not in the
        shape of x.
        """
        shape = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
        if not isinstance(made, Tensor) or made.shape != x.shape:
            raise UserError(
                f"the sampler returned {shape}: make its method return a tensor in the shape of x, "
                f"{tuple(x.shape)}"
            )
        self.note(made, None)
        self.check()
        return made

    def check(self) -> None:
        """Raise UserError if a tensor was not finite; the message names its level."""
        levels, answers = [level for level, _ in self.answers], [each for _, each in self.answers]
        self.answers = []
        finite = torch.stack(answers).tolist() if answers else []
        for level, good in zip(levels, finite, strict=True):
            if good:
                continue
            if level is None:
                raise UserError(
                    "the sampler's result is not finite, although all estimates of the image are "
                    "finite: correct the method of the sampler"
                )
            raise UserError(
                f"the network's output is not finite at t = {level.t:g} (alpha "
                f"{level.alpha:.4g}, sigma {level.sigma:.4g}): lower the `guidance`, or use an "
                "earlier checkpoint"
            )
