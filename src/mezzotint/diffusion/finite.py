"""A check that the estimates of a denoiser are finite, which does not slow down a sampler."""

from __future__ import annotations

import torch
from torch import Tensor

from mezzotint.devices import on_cpu
from mezzotint.diffusion.level import Level
from mezzotint.errors import UserError


class Finite:
    """A check that the estimates x0_hat of a denoiser are finite.

    Reading the result of a check from a GPU waits for the GPU. So the results of all steps are read
    together, after the last step.
    """

    def __init__(self) -> None:
        self.answers: list[tuple[Level, Tensor]] = []

    def note(self, x0: Tensor, level: Level) -> None:
        """Check an estimate. On a CPU, raise UserError at once if the estimate is not finite."""
        self.answers.append((level, torch.isfinite(x0).all()))
        if on_cpu(x0):
            self.check()

    def check(self) -> None:
        """Raise UserError if an estimate was not finite; the message names the first such level."""
        levels, answers = [level for level, _ in self.answers], [each for _, each in self.answers]
        self.answers = []
        finite = torch.stack(answers).tolist() if answers else []
        for level, good in zip(levels, finite, strict=True):
            if not good:
                raise UserError(
                    f"the network's output is not finite at t = {level.t:g} (alpha "
                    f"{level.alpha:.4g}, sigma {level.sigma:.4g}): lower the `guidance`, or use an "
                    "earlier checkpoint"
                )
