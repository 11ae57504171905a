"""Progressive distillation: in each stage the student halves the steps of its teacher."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mezzotint.diffusion.level import Level
from mezzotint.diffusion.samplers.step import step
from mezzotint.trainer.distilling.task import AlongNoise, Levels, towards
from mezzotint.trainer.loop import Examples
from mezzotint.trainer.sharding import whole

if TYPE_CHECKING:
    from mezzotint.trainer.distilling.config import DistillationConfig


class Progressive(AlongNoise):
    """Train a student whose single DDIM step equals two steps of its teacher.

    See Salimans and Ho 2022, arXiv 2202.00512, and for guidance Meng et al. 2022, arXiv 2210.03142.
    There are several stages of equal length. In the first stage, the guided teacher makes
    ``teacher_steps`` steps, rounded to ``calls`` times a power of two. In each later stage, the
    teacher is the averaged student of the stage before, and the number of steps is halved. In the
    last stage, the student makes ``calls`` steps.
    """

    eta, any_calls, usual_steps = 0.0, False, 16
    stage: Tensor

    def __init__(self, *args: Any, **fields: Any) -> None:
        super().__init__(*args, **fields)
        self.stages = self.stages_of(self.config)
        self.now = 0  # the stage of the next step
        self.register_buffer("stage", torch.zeros((), dtype=torch.int64))
        self.reached = 0  # the value of `stage`; reading the buffer would wait for the device
        self.register_load_state_dict_post_hook(_reach)  # type: ignore[no-untyped-call]
        self.before: nn.Module | None = None  # the student at the end of the stage before

    @classmethod
    def stages_of(cls, config: DistillationConfig) -> int:
        """Return the number of stages."""
        return max(1, round(math.log2(cls.steps_of(config) / config.calls)))

    @classmethod
    def phase(cls, config: DistillationConfig, seen: int, images: int) -> int:
        """Return the stage; see `Distillation.phase`."""
        stages = cls.stages_of(config)
        return min(seen * stages // images, stages - 1)

    def begin(self, average: nn.Module) -> None:
        """Store the averaged student, and make a copy that is the teacher after the first stage.

        At the beginning of each later stage, `aim` copies the averaged weights to this teacher.
        """
        super().begin(average)
        self.before = copy.deepcopy(average).requires_grad_(False).eval()

    def way(self, u: Tensor, seen: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the angles (t, s, end); see `AlongNoise.way`."""
        self.now = self.phase(self.config, seen, self.images)
        steps = self.config.calls * 2 ** (self.stages - 1 - self.now)
        width = self.top / steps
        t = width * (steps - (steps * u).floor())
        return t, t - width / 2, (t - width).clamp(min=0)

    def aim(self, net: nn.Module, x: Tensor, levels: Levels, examples: Examples) -> Tensor:
        """Return the target of the student for x; see `AlongNoise.aim`."""
        if self.now != self.reached:
            assert self.before is not None
            now = self.average[0].state_dict()
            self.before.load_state_dict({name: whole(value) for name, value in now.items()})
            self.stage.fill_(self.now)
            self.reached = self.now
        t, s, end = levels
        x_s = step(x, self.taught(x, t, examples), t, s)
        return towards(x, t, step(x_s, self.taught(x_s, s, examples), s, end), end)

    def taught(self, x: Tensor, level: Level[Tensor], examples: Examples) -> Tensor:
        """Return the estimate x0_hat of this stage's teacher."""
        if not self.now:
            return self.guided(x, level, examples)
        assert self.before is not None
        return self.student(self.before, x, level, examples)


def _reach(task: Progressive, _: object) -> None:
    """Copy the buffer ``stage`` to the integer ``reached`` after a saved state is loaded."""
    task.reached = int(task.stage)
