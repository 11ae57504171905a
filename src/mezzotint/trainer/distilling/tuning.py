"""Consistency tuning: for the same image and noise, the outputs at two noise levels agree."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import Tensor, nn

from mezzotint.diffusion.samplers.step import step
from mezzotint.trainer.distilling.task import LEAST, AlongNoise, Levels
from mezzotint.trainer.loop import Examples

if TYPE_CHECKING:
    from mezzotint.trainer.distilling.config import DistillationConfig


class Tuning(AlongNoise):
    """Train a student f towards f(x_t, t) = f(x_s, s), where x_s has the x0 and eps of x_t.

    The gradient of f(x_s, s) is not used (Geng et al. 2024, arXiv 2406.14548). The levels t and s
    are angles. At first s is t / 2. At equal intervals of the training, t - s is halved, until it
    is about ``t / teacher_steps``. The loss has the weight ``t / (t - s)``. As t - s goes to 0, the
    mean of the gradient becomes the mean gradient of consistency distillation. The teacher provides
    the initial weights and the guidance: ``(scale - 1) (x0_c - x0_u)`` is added to the x0 of x_s,
    where x0_c and x0_u are the teacher's conditional and unconditional estimates.
    """

    eta, any_calls, usual_steps = 1.0, True, 64

    @classmethod
    def phase(cls, config: DistillationConfig, seen: int, images: int) -> int:
        """Return the number of times that t - s was halved so far; see `Distillation.phase`."""
        halvings = max(1, round(math.log2(cls.steps_of(config))))
        return min(seen * halvings // images, halvings - 1)

    def way(self, u: Tensor, seen: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the angles (t, s, end); see `AlongNoise.way`."""
        self.gain = 2.0 ** (1 + self.phase(self.config, seen, self.images))
        t = self.top * (LEAST + (1 - LEAST + 1 / self.steps) * (1 - u)).clamp(max=1)
        return t, t * (1 - 1 / self.gain), t * 0

    def aim(self, net: nn.Module, x: Tensor, levels: Levels, examples: Examples) -> Tensor:
        """Return the target of the student for x; see `AlongNoise.aim`."""
        t, s, _ = levels
        x0 = examples.x0
        if self.config.scale != 1:
            x0 = x0 + self.teacher(x, t, examples)[1]
        return self.by_itself(net, x, step(x, x0, t, s), levels, examples)
