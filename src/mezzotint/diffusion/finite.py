"""The check that the estimates of a denoiser are finite, which no step of a sampler waits for."""

from __future__ import annotations

import torch
from torch import Tensor

from mezzotint.devices import on_cpu
from mezzotint.diffusion.level import Level
from mezzotint.errors import UserError


class Finite:
    """Checks that estimates are finite.

    Reading an answer from a GPU waits for it, so all answers are read at once, after the last step.
    """

    def __init__(self) -> None:
        self.answers: list[tuple[Level, Tensor]] = []

    def note(self, x0: Tensor, level: Level) -> None:
        """Take an estimate; on a CPU it is checked now, so that a failure comes early."""
        self.answers.append((level, torch.isfinite(x0).all()))
        if on_cpu(x0):
            self.check()

    def check(self) -> None:
        """Raise UserError, with the first level at which an estimate was not finite."""
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
