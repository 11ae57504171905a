"""Distillation on one-dimensional flows that are known exactly."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mezzotint as mz
from flows import GAUSSIAN, TWO, Flow
from mezzotint.networks.conditions import every
from mezzotint.trainer.distilling import task as shared
from mezzotint.trainer.distilling.config import DistillationConfig
from mezzotint.trainer.distilling.task import AlongNoise, towards
from mezzotint.trainer.distilling.teacher import guide
from mezzotint.trainer.loop import Examples

from oracles import drawn

SCHEDULE = mz.cosine(1000)
DATA = pytest.mark.parametrize("data", [GAUSSIAN, TWO], ids=["gaussian", "two"])
METHOD = pytest.mark.parametrize("method", mz.DISTILLATIONS)
ALONG = [name for name, method in mz.DISTILLATIONS.items() if issubclass(method, AlongNoise)]


def angles_of(level: Any) -> Tensor:
    return torch.atan2(level.sigma, level.alpha).flatten()


def wide(x: Tensor) -> Tensor:
    return x.view(-1, 1, 1, 1)


def task(
    method: str,
    teacher: Any = None,
    images: int = 1,
    shape: tuple[int, ...] = (1, 1, 1),
    **fields: Any,
) -> Any:
    config = DistillationConfig(teacher="t", method=method, **fields)
    return mz.DISTILLATIONS[method](config, SCHEDULE, "v", shape, teacher, images=images)


class Levels:
    """The levels (t, s, end) of a task; ``after`` returns the level that follows t or s."""

    def __init__(self, *angles: Tensor) -> None:
        self.angles = angles

    def after(self, angle: Tensor) -> Tensor:
        t, s, end = self.angles
        return s if torch.allclose(angle, t) else end


class Exact(nn.Module):
    """The exact student of a flow with a v-prediction, plus an offset and a slope of 0."""

    def __init__(self, data: Flow, levels: Levels) -> None:
        super().__init__()
        self.off = nn.Parameter(torch.zeros(2, dtype=torch.float64))
        self.data, self.levels = data, levels

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        rows = SCHEDULE.angles[1:]
        below = t.floor().long().clamp(max=998)
        angle = rows[below] + (t - below) * (rows[below + 1] - rows[below])
        _, _, end = self.levels.angles
        there = self.data.between(x.flatten(), angle, end)
        x0 = towards(x, at(angle), wide(there), at(end))
        x0 = x0 + self.off[0] + self.off[1] * x
        return (wide(angle.cos()) * x - x0) / wide(angle.sin())


def at(angle: Tensor) -> Any:
    return mz.Level(angle, wide(angle.cos()), wide(angle.sin()))


@DATA
@pytest.mark.parametrize("method", ["consistency", "multistep", "progressive"])
def test_the_exact_function_is_a_fixed_point(data: Flow, method: str) -> None:
    """If the teacher's steps are exact, its gradient is 0; that of another function is not."""
    learned = task(method, calls=2, teacher_steps=8)
    u = torch.linspace(0.01, 0.97, 64, dtype=torch.float64)
    _, s, end = learned.way(u, 0)
    u = u[(s == end) | (s > SCHEDULE.angles[1])]  # below row 1, t is no function of the angle
    levels = Levels(*learned.way(u, 0))

    def teacher(x: Tensor, level: Any, examples: Examples) -> tuple[Tensor, Tensor]:
        angle = angles_of(level)
        after = levels.after(angle)
        there = wide(data.between(x.flatten(), angle, after))
        return towards(x, level, there, at(after)), torch.zeros_like(x)

    learned.teacher = teacher
    net = Exact(data, levels)
    eps = drawn(1)(wide(u))
    for off, wanted in ((0.0, True), (0.1, False)):
        net.off.data.fill_(off)
        net.zero_grad()
        learned(net, Examples(wide(data.draw(len(u)))), *levels.angles, eps)[0].backward()
        assert net.off.grad is not None
        assert (float(net.off.grad.abs().max()) < 1e-6) == wanted


@DATA
def test_the_exact_function_is_a_fixed_point_of_tuning_in_the_limit(
    data: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As t - s goes to 0, the mean of the gradient given x_t does too.

    Two x0 on both sides of E[x0 | x] show it.
    """
    monkeypatch.setattr(shared, "HUBER", 1.0)  # errors here are far below it, as of a plain square
    learned = task("tuning")
    t = torch.linspace(0.2, 1.4, 32, dtype=torch.float64)
    x = data.between(data.draw(32), t * 0, t)
    middle = data.denoise(x, t)
    x0 = torch.cat([middle - 0.3, middle + 0.3])
    t, x = t.repeat(2), x.repeat(2)
    eps = (x - t.cos() * x0) / t.sin()
    found = []
    for share in (1e-3, 1e-5, 1e-7):
        levels = Levels(t, t * (1 - share), t * 0)
        net, learned.gain = Exact(data, levels), 1 / share
        learned(net, Examples(wide(x0)), *levels.angles, wide(eps))[0].backward()
        assert net.off.grad is not None
        found.append(float(net.off.grad.abs().max()))
    assert found[0] > 30 * found[1] > 900 * found[2]
    assert found[2] < 1e-6


@pytest.mark.parametrize("method", ALONG)
def test_a_way_goes_down_and_reaches_the_noisiest_level(method: str) -> None:
    learned, u = task(method, calls=3, teacher_steps=24), torch.rand(4_000)
    for seen in (0, 1):
        t, s, end = learned.way(u, seen)
        assert (t > s).all()
        assert (s >= end).all()
        assert float(t.max()) == pytest.approx(learned.top)
        assert float(end.min()) == pytest.approx(0, abs=1e-6)
        if method == "multistep":
            assert len(end.unique()) == 3


def test_progressive_halves_the_steps_stage_by_stage() -> None:
    learned, u = task("progressive", calls=2, teacher_steps=16, images=900), torch.rand(1_000)
    counts = [len(learned.way(u, seen)[0].unique()) for seen in (0, 299, 300, 599, 600, 899)]
    assert counts == [8, 8, 4, 4, 2, 2]


def test_tuning_halves_the_distance_of_its_pair() -> None:
    learned, u = task("tuning", teacher_steps=16, images=400), torch.rand(100)
    for seen, share in ((0, 1 / 2), (99, 1 / 2), (100, 1 / 4), (399, 1 / 16)):
        t, s, _ = learned.way(u, seen)
        torch.testing.assert_close((t - s) / t, torch.full_like(t, share))
        assert learned.gain == 1 / share


def test_a_teacher_is_guided_as_in_sampling() -> None:
    def net(x: Tensor, t: Tensor, condition: dict[str, Tensor] | None) -> Tensor:
        shift = 0 if condition is None else condition["label"].view(-1, 1, 1, 1)
        return x * 0.1 + shift + t.view(-1, 1, 1, 1) / 1000

    x, labels = torch.randn(4, 1, 2, 2), {"label": torch.tensor([0, 1, 2, 2])}
    null = {"label": torch.full((4,), 3)}
    for scale in (0.0, 1.0, 2.5):
        rows = SCHEDULE.levels(torch.full((4,), 500))
        x0, push = guide(net, "v", every(3), scale)(x, rows, Examples(x, labels))
        cond, uncond = (mz.denoiser(net, "v", each) for each in (labels, null))
        wanted = mz.guide(cond, uncond, scale)(x, SCHEDULE.row(500))
        torch.testing.assert_close(x0 + push, wanted)


def test_a_teacher_is_guided_within_an_interval_only() -> None:
    def net(x: Tensor, t: Tensor, condition: dict[str, Tensor]) -> Tensor:
        return x * 0.1 + condition["label"].view(-1, 1, 1, 1)

    x, labels = torch.randn(4, 1, 2, 2), {"label": torch.tensor([0, 1, 2, 2])}
    levels = SCHEDULE.levels(torch.tensor([10, 400, 600, 990]), 4)
    ratio = (levels.sigma / levels.alpha).flatten()
    within = float(ratio[1]), float(ratio[2])
    (x0, whole), (same, some) = (
        guide(net, "v", every(3), 2.5, limits)(x, levels, Examples(x, labels))
        for limits in (None, within)
    )
    assert torch.equal(x0, same)
    assert torch.equal(some[1:3], whole[1:3])
    assert not some[[0, 3]].any()
    assert whole.abs().amin() > 0


class Small(nn.Module):
    """A v-network that treats all elements of an image in the same way, independently."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        layers: list[nn.Module] = []
        for inputs in (5, 64, 64):
            layers += [nn.Linear(inputs, 64), nn.SiLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(64, 1))

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        angle = wide(t).expand_as(x) / 1000 * math.pi / 2
        waves = angle.sin(), angle.cos()
        features = torch.stack([x, *waves, *(x * wave for wave in waves)], -1)
        return self.layers(features).squeeze(-1)


def error(method: str, steps: int) -> float:
    """Return the RMS distance of a trained student from the end of the flow of `TWO`.

    The gradient of the pseudo-Huber distance has the direction of the error, but hardly depends on
    its length. For images of one element it leads to the median of the targets. The targets of
    `tuning` differ for the same x, and their median is not their mean, so its images have 16
    independent elements.
    """

    def teacher(x: Tensor, level: Any, examples: Examples) -> tuple[Tensor, Tensor]:
        angle = wide(angles_of(level)).expand_as(x)
        clean = TWO.denoise(x.flatten(), angle.flatten())
        return clean.view_as(x), torch.zeros_like(x)

    net, tuning = Small(), method == "tuning"
    batch, elements = (32, 16) if tuning else (256, 1)
    count = 128 if tuning else 16  # its pairs agree only in the limit
    shape = (1, 1, elements)
    learned = task(method, teacher, steps * batch, shape, calls=2, teacher_steps=count)
    learned.begin(net)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    falls = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: 1 - i / steps)
    generator = torch.Generator().manual_seed(0)
    x0 = TWO.draw(20_000).float()
    for i in range(steps):
        rows = torch.randint(len(x0), (batch, *shape), generator=generator)
        drawn = learned.draw(batch, i * batch, generator)
        optimizer.zero_grad()
        learned(net, Examples(x0[rows]), *drawn)[0].backward()
        optimizer.step()
        falls.step()
    x = wide(torch.linspace(-2.5, 2.5, 101))
    grid = SCHEDULE.grid(1 if learned.any_calls else 2, "angle")
    made = mz.SAMPLERS["consistency"](mz.denoiser(net, "v"), x, grid, eta=0.0).flatten()
    weights = torch.exp(-(x.flatten() ** 2) / 2)
    wanted = TWO.between(x.flatten(), torch.tensor(learned.top), torch.tensor(0.0))
    return float(((made - wanted).square() @ weights / weights.sum()).sqrt())


# A constant has an error of 0.74, the standard deviation of the data.
@METHOD
def test_a_small_network_learns_the_flow(method: str) -> None:
    short, longer = error(method, 10), error(method, 150)
    assert longer < 0.26
    assert longer < short


@pytest.mark.slow
@METHOD
def test_the_error_falls_with_the_budget(method: str) -> None:
    errors = [error(method, steps) for steps in (20, 600, 4_000)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < (0.1 if method == "tuning" else 0.06)


def test_fields_that_do_not_fit_are_refused() -> None:
    with pytest.raises(mz.UserError, match=r"`teacher_steps` is 3: choose 4 or more, twice the"):
        DistillationConfig(teacher="t", teacher_steps=3)
    with pytest.raises(mz.UserError, match="calls: input should be greater than 0"):
        DistillationConfig(teacher="t", calls=0)
    with pytest.raises(mz.UserError, match="unknown method 'consistent': choose one of consist"):
        DistillationConfig(teacher="t", method="consistent")
