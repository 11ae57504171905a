"""Distillation of trajectories: the student learns each part of the teacher's path as one step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mezzotint.diffusion.level import Level
from mezzotint.diffusion.samplers import SAMPLERS
from mezzotint.errors import UserError, counted
from mezzotint.trainer.distilling.task import Distillation, Problem, towards
from mezzotint.trainer.loop import Examples

if TYPE_CHECKING:
    from mezzotint.trainer.distilling.config import DistillationConfig

POOL = 2_048  # the number of trajectories that are kept
USES = 4  # how often each part of a trajectory is used, on average


class Trajectory(Distillation):
    """Train a student whose single DDIM step makes a whole part of the teacher's path.

    The guided teacher samples from noise by DPM-Solver++ 2M, without any data. Its path is divided
    into ``calls`` equal parts, and x is stored at both ends of each part. The student learns to get
    from the noisy end of a part to its clean end (Luhman and Luhman 2021, arXiv 2101.02388, do this
    with a single part). A trajectory costs all steps of the teacher, but gives the student only
    ``calls`` parts to learn. So the last 2,048 trajectories (fewer in a short training) are stored,
    and each part of a trajectory is used about 4 times.
    """

    eta, any_calls, usual_steps = 0.0, False, 12
    x: Tensor
    labels: Tensor
    made: Tensor

    def __init__(self, *args: Any, **fields: Any) -> None:
        super().__init__(*args, **fields)
        calls = self.config.calls
        pool = self.phase(self.config, 0, self.images)
        self.steps = calls * -(-self.steps // calls)
        timesteps = len(self.schedule)
        most = calls * (timesteps // calls)
        if not self.config.teacher_steps:
            self.steps = min(self.steps, most)
        if not 2 * calls <= self.steps <= most:
            raise UserError(
                f"the teacher has only {counted(timesteps, 'timestep')}: give fewer "
                "`teacher_steps` or `calls`, or another `method`"
            )
        self.grid = self.schedule.grid(self.steps, "angle")
        angles = [self.top * (calls - i) / calls for i in range(calls + 1)]
        self.register_buffer("x", torch.zeros(pool, calls + 1, *self.shape))
        self.register_buffer("labels", torch.zeros(pool, dtype=torch.int64))
        self.register_buffer("made", torch.zeros((), dtype=torch.int64))
        self.register_buffer("angles", torch.tensor(angles), persistent=False)
        self.known = 0  # the value of `made`; reading the buffer would wait for the device
        self.register_load_state_dict_post_hook(_count)  # type: ignore[no-untyped-call]

    @classmethod
    def phase(cls, config: DistillationConfig, seen: int, images: int) -> int:
        """Return how many trajectories are stored; see `Distillation.phase`."""
        return min(POOL, max(1, images // (USES * config.calls)))

    def draw(self, batch: int, seen: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Add new trajectories to the pool, and draw a batch from it.

        Returns two tensors (B,): the indices of stored trajectories, and the index of one part of
        each of these trajectories.
        """
        shared: dict[str, Any] = {"generator": generator, "device": generator.device}
        pool, calls = len(self.x), self.config.calls
        new = -(-batch // (USES * calls)) if seen else batch
        self._add(min(new, pool), shared)
        self.known += min(new, pool)
        known = min(self.known, pool)
        rows = torch.randint(known, (batch,), **shared)
        return rows, torch.randint(calls, (batch,), **shared)

    def problem(self, net: nn.Module, examples: Examples, *drawn: Tensor) -> Problem:
        """Return the student's inputs and target; see `Distillation.problem`."""
        rows, parts = drawn
        angles: Tensor = self.angles  # type: ignore[assignment]
        x, given = self.x[rows, parts], self._given(self.labels[rows])
        t, end = (self.schedule.at_angles(angles[i], x.ndim) for i in (parts, parts + 1))
        return x, t, towards(x, t, self.x[rows, parts + 1], end), Examples(x, given)

    def fitted(self, saved: dict[str, Tensor]) -> dict[str, Tensor]:
        """Fit a saved pool of trajectories to the size of this pool.

        The sizes may differ if a training is resumed with another number of images. Trajectories
        for which there is no room are dropped, and missing ones are zero until they are sampled.
        """
        names = ("x", "labels", "made")
        x, labels, made = (saved.get(name, torch.zeros(0)) for name in names)
        kept = min(len(x), len(self.x)) if x.shape[1:] == self.x.shape[1:] else 0
        if not kept or len(x) == len(self.x) or len(labels) != len(x):
            return saved
        pool, given = self.x.new_zeros(self.x.shape), self.labels.new_zeros(len(self.x))
        pool[:kept], given[:kept] = x[:kept], labels[:kept]
        return saved | {"x": pool, "labels": given, "made": made.clamp(max=kept)}

    def _given(self, labels: Tensor) -> dict[str, Tensor]:
        """Return the network's conditions for labels; {} for a model without classes."""
        return {"label": labels} if self.classes else {}

    @torch.no_grad()
    def _add(self, count: int, shared: dict[str, Any]) -> None:
        """Sample trajectories from noise. They replace the oldest trajectories in the pool."""
        x = torch.randn(count, *self.shape, **shared)
        labels = torch.randint(max(1, self.classes), (count,), **shared)
        given = Examples(x, self._given(labels))
        ends = self.grid[:: self.steps // self.config.calls]
        passed = []

        def denoise(x: Tensor, level: Level) -> Tensor:
            if level in ends:
                passed.append(x)
            angles = torch.full((len(x),), math.atan2(level.sigma, level.alpha), device=x.device)
            return self.guided(x, self.schedule.at_angles(angles, x.ndim), given)

        # Call the method without Sampler's check of the estimates, which waits for the device.
        passed.append(SAMPLERS["dpmpp_2m"].method(denoise, x, self.grid))
        rows = (torch.arange(count, device=x.device) + self.made) % len(self.x)
        self.x[rows], self.labels[rows] = torch.stack(passed, 1), labels
        self.made += count


def _count(task: Trajectory, _: object) -> None:
    """Copy the buffer ``made`` to the integer ``known`` after a saved state is loaded."""
    task.known = int(task.made)
