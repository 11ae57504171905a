"""The base classes of the methods of distillation.

Levels are given by their angle, ``alpha = cos(angle)`` and ``sigma = sin(angle)``. The student is a
denoiser ``f(x, t)``, which is trained towards a target that depends on the method:

    L = huber(|f(x_t, t) - target| / sigma_t)

An error of x0_hat divided by sigma is an error of v, so the loss is weighted as for a v-prediction.
The factor 1 / sigma_t is large at low noise, where the target is nearly certain, and 1 at high
noise, where sampling starts. ``huber(|e|)`` is the pseudo-Huber distance ``sqrt(|e|^2 + c^2) - c``,
where |e| is the root mean square of the error e over its elements, and c is HUBER (Song and
Dhariwal 2023, arXiv 2310.14189, section 3.3). The gradient of huber is bounded, so a few images
cannot outweigh all others. If similar inputs have different targets, the best output for an image
of many elements is near the mean of the targets, because |e| is about the same for all of them. For
an image of a single element, the best output is near the median of the targets.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import torch
from torch import Tensor, nn

from mezzotint.diffusion.guidance import CLIPPINGS
from mezzotint.diffusion.level import Level, Schedule
from mezzotint.diffusion.prediction import to_x0
from mezzotint.diffusion.samplers.step import step
from mezzotint.diffusion.spacings import top
from mezzotint.trainer.distilling.teacher import Teacher, called
from mezzotint.trainer.loop import Examples, Task

if TYPE_CHECKING:
    from mezzotint.trainer.distilling.config import DistillationConfig

HUBER = 0.00054
"""c for the mean over elements. For a sum, Song and Dhariwal multiply it by sqrt(elements)."""
LEAST = 0.01  # the least t, as a share of a part of the path; below it x and target hardly differ

Levels: TypeAlias = tuple[Level[Tensor], ...]
Problem: TypeAlias = tuple[Tensor, Level[Tensor], Tensor, Examples]
"""x (B, C, H, W), its level, the target of f(x, t), and the student's conditions."""


class Distillation(Task):
    """Abstract base class of the objectives of the methods of distillation.

    Args:
        config: The method's settings.
        schedule: The levels, on the device of the training.
        prediction: The prediction type of the networks.
        shape: The shape (C, H, W) of the network's input for one image.
        teacher: The teacher, as `teacher.guide` returns it.
        classes: The number of classes.
        clipping: The clipping of the teacher's guided estimates: a name in CLIPPINGS.
        images: The number of images that are seen in the whole training.
        dtype: The type in which the networks compute, by autocast.

    Attributes:
        eta: The student's ``eta`` for the sampler `consistency`, from 0 (no new noise) to 1.
        any_calls: Whether the student can make an image in any number of calls, not only in the
            number for which it was trained.
        usual_steps: The default number of the teacher's steps.
        steps: The number of the teacher's steps from noise to image.
        top: The angle of the noisiest level, in radians.
        gain: The weight by which the loss is multiplied at the current step.
        average: A tuple with the network that `begin` received. The network holds the average of
            the student's weights.
    """

    eta: ClassVar[float]
    any_calls: ClassVar[bool]
    usual_steps: ClassVar[int]

    def __init__(
        self,
        config: DistillationConfig,
        schedule: Schedule,
        prediction: str,
        shape: tuple[int, ...],
        teacher: Teacher,
        classes: int = 0,
        clipping: str = "none",
        images: int = 1,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.config, self.schedule, self.prediction = config, schedule, prediction
        self.shape, self.teacher, self.classes = shape, teacher, classes
        self.clipping, self.images, self.dtype = clipping, images, dtype
        self.steps = self.steps_of(config)
        self.top, self.gain = top(schedule), 1.0
        self.average: tuple[nn.Module, ...] = ()  # in a tuple, so that it is not a submodule

    @classmethod
    def steps_of(cls, config: DistillationConfig) -> int:
        """Return the number of the teacher's steps."""
        return config.teacher_steps or max(cls.usual_steps, 2 * config.calls)

    @classmethod
    def phase(cls, config: DistillationConfig, seen: int, images: int) -> int:
        """Return the phase of a step, a number that says how the method trains in this step.

        The step comes after ``seen`` of the training's ``images`` images. If a training is made
        longer or shorter, the method treats a step differently only if the step's phase changes.
        """
        return 0

    def begin(self, average: nn.Module) -> None:
        """Receive the network that will hold the average of the student's weights; called once."""
        self.average = (average,)

    @abstractmethod
    def problem(self, net: nn.Module, examples: Examples, *drawn: Tensor) -> Problem:
        """Return the student's inputs and target for a part of a batch.

        ``drawn`` are the random numbers from `draw`.
        """

    def forward(
        self, net: nn.Module, examples: Examples, *drawn: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a part of a batch, and named values for the log.

        ``drawn`` are the random numbers from `draw`.
        """
        with torch.no_grad(), self.autocast(examples.x0.device):
            x, t, target, given = self.problem(net, examples, *drawn)
        with self.autocast(x.device):
            made = self.student(net, x, t, given)
        square = ((made - target) / t.sigma).square().flatten(1).mean(1)
        loss = ((square + HUBER**2).sqrt() - HUBER).mean()
        return self.gain * loss, {"loss": loss.detach()}

    def student(
        self, net: nn.Module, x: Tensor, level: Level[Tensor], examples: Examples
    ) -> Tensor:
        """Return the x0_hat of a network, without guidance."""
        output = called(net, x, level.t, examples.condition, examples.augmentation)
        return to_x0(self.prediction, output, x, level)

    def guided(self, x: Tensor, level: Level[Tensor], examples: Examples) -> Tensor:
        """Return the teacher's guided estimate, clipped as in sampling."""
        x0, push = self.teacher(x, level, examples)
        return CLIPPINGS[self.clipping](lambda *_: x0 + push)(x, level)  # type: ignore[arg-type]


class AlongNoise(Distillation):
    """Abstract base class of methods that train the student on data with noise added to it."""

    @abstractmethod
    def way(self, u: Tensor, seen: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the angles (t, s, end), (B,) each, for uniform random numbers u (B,) in [0, 1).

        The student is trained at t towards the point of the flow at the angle ``end``. The target
        is computed from a point at the angle s, with ``t > s >= end``. ``seen`` is the number of
        images seen so far.
        """

    @abstractmethod
    def aim(self, net: nn.Module, x: Tensor, levels: Levels, examples: Examples) -> Tensor:
        """Return the target of the student f(x, t).

        ``levels`` are (t, s, end), and x is at the level t. The target is an estimate of x0. A DDIM
        step from x with this estimate leads to the point at ``end`` that `way` describes.
        """

    def draw(self, batch: int, seen: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Draw the angles of three levels t, s and "end", each (B,), and noise eps (B, C, H, W)."""
        shared: dict[str, Any] = {"generator": generator, "device": generator.device}
        angles = self.way(torch.rand(batch, **shared), seen)
        return *angles, torch.randn(batch, *self.shape, **shared)

    def problem(self, net: nn.Module, examples: Examples, *drawn: Tensor) -> Problem:
        """Return the student's inputs and target; see `Distillation.problem`."""
        *angles, eps = drawn
        levels = tuple(self.schedule.at_angles(angle, eps.ndim) for angle in angles)
        t = levels[0]
        x = t.alpha * examples.x0 + t.sigma * eps
        return x, t, self.aim(net, x, levels, examples), examples

    def by_itself(
        self, net: nn.Module, x: Tensor, x_s: Tensor, levels: Levels, examples: Examples
    ) -> Tensor:
        """Return the target of f(x_t, t) that agrees with the student's estimate f(x_s, s).

        A DDIM step from x_s to ``end`` with the estimate f(x_s, s) leads to a point. The target is
        the x0_hat with which a DDIM step from x_t leads to the same point. ``x`` is x_t, and
        ``levels`` are (t, s, end).
        """
        t, s, end = levels
        there = step(x_s, self.student(net, x_s, s, examples), s, end)
        return towards(x, t, torch.where(s.sigma == end.sigma, x_s, there), end)


class AlongTeacher(AlongNoise):
    """Abstract base class of methods that make the student's estimates agree across a teacher step.

    The path from noise to image is divided into ``parts`` parts. First a part is drawn; ``end`` is
    its clean end. Then t is drawn uniformly from an interval that begins just above ``end`` and
    ends one teacher step beyond the part's noisy end. A t beyond the noisy end is moved back to the
    noisy end. So the noisy end, where a call of the student starts, is drawn often.

    A step of the guided teacher leads from x_t to x_s. The student f estimates the image from x_s,
    without gradient, and a DDIM step with this estimate f(x_s, s) leads to a point at ``end``. The
    target of f(x_t, t) is the x0_hat with which a DDIM step leads from x_t to the same point. If
    ``end`` has no noise, the target is f(x_s, s). But if the teacher's step would reach or pass
    ``end``, the step stops at ``end``, and the target is the teacher's estimate.
    """

    parts = 1

    def way(self, u: Tensor, seen: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the angles (t, s, end); see `AlongNoise.way`."""
        length, one = self.top / self.parts, self.top / self.steps
        place = self.parts * u
        end = length * place.floor()
        share = (LEAST + (1 - LEAST + one / length) * (1 - place.frac())).clamp(max=1)
        t = end + length * share
        return t, end + (t - end - one).clamp(min=0), end

    def aim(self, net: nn.Module, x: Tensor, levels: Levels, examples: Examples) -> Tensor:
        """Return the target of the student for x; see `AlongNoise.aim`."""
        t, s, _ = levels
        x_s = step(x, self.guided(x, t, examples), t, s)
        return self.by_itself(net, x, x_s, levels, examples)


def towards(x: Tensor, t: Level[Tensor], there: Tensor, s: Level[Tensor]) -> Tensor:
    """Return the x0_hat with which a DDIM step from x at level t leads to ``there`` at level s."""
    scale = s.sigma / t.sigma
    return (there - scale * x) / (s.alpha - scale * t.alpha)
