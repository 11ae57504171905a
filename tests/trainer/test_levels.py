"""The rows on which a batch trains."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mezzotint import cosine
from mezzotint.trainer.levels import Adaptive, uniform
from mezzotint.trainer.objective import Diffusion, ObjectiveConfig

T = 1000


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def taught(T: int, loss: Any, batches: int = 40) -> Adaptive:
    """Return adaptive levels that have seen a loss at each row."""
    levels = Adaptive(T)
    for i in range(batches):
        rows = uniform(T, 100 * T // batches + 100, generator(i))
        levels.update(rows, loss(rows))
    return levels


def falling(rows: Tensor) -> Tensor:
    return torch.exp(-rows / 150)


def test_uniform_rows_are_those_of_old_runs() -> None:
    old = torch.randint(1, T + 1, (64,), generator=generator())
    assert torch.equal(uniform(T, 64, generator()), old)
    assert torch.equal(diffusion("simple", "uniform").draw(64, 0, generator())[0], old)


@pytest.mark.parametrize("T", [1, 2, 63, 64, 65, 1000])
def test_every_row_is_drawn_and_no_other(T: int) -> None:
    for levels in (Adaptive(T), taught(T, falling)):
        rows = levels.draw(400 * T, generator())
        assert rows.dtype == torch.int64
        assert rows.shape == (400 * T,)
        assert torch.equal(rows.unique(), torch.arange(1, T + 1))


def test_all_rows_are_alike_until_each_bin_has_been_seen_ten_times() -> None:
    levels = Adaptive(T)
    rows = torch.arange(1, T + 1)  # 15 or 16 a bin
    low = rows[:-9]  # all but 9 rows of the last bin, which has so far been seen 7 times
    levels.update(low, falling(low))
    assert (levels.weight(rows) == 1).all()
    assert float(levels.draw(100_000, generator()).float().mean()) == pytest.approx(500, abs=5)
    levels.update(rows[-9:], falling(rows[-9:]))
    assert (levels.weight(rows) != 1).all()


def test_rows_are_drawn_by_the_root_of_the_second_moment() -> None:
    """p_i ~ sqrt(E L_i^2), with a tenth uniform, constant in each of 64 bins."""
    levels = taught(T, falling)
    rows = torch.arange(1, T + 1)
    bins = (rows - 1) * 64 // T
    squares = falling(rows).double() ** 2
    root = torch.stack([squares[bins == k].mean().sqrt() for k in range(64)])[bins]
    p = 0.1 / T + 0.9 * root / root.sum()
    torch.testing.assert_close(levels.weight(rows).double(), 1 / (T * p), rtol=0.02, atol=0)
    n = 1_000_000
    drawn = torch.bincount(levels.draw(n, generator()), minlength=T + 1)[1:]
    ours = 1 / (T * levels.weight(rows).double())
    chi2 = ((drawn - n * ours) ** 2 / (n * ours)).sum()
    assert abs(chi2 - (T - 1)) < 5 * (2 * T) ** 0.5
    assert levels.weight(rows).max() <= 10
    assert float((ours * levels.weight(rows)).sum()) == pytest.approx(1, abs=1e-6)


def test_what_is_long_past_is_forgotten() -> None:
    levels = taught(T, lambda rows: 1 + falling(1001 - rows))
    for i in range(1000):  # of which a bin gets some 2000 samples, ten times what it remembers
        rows = levels.draw(128, generator(i))
        levels.update(rows, 1 + falling(rows))
    fresh = taught(T, lambda rows: 1 + falling(rows))
    now, then = (a.weight(torch.arange(1, T + 1)) for a in (levels, fresh))
    torch.testing.assert_close(now, then, rtol=0.01, atol=0)


def test_a_loss_that_is_nowhere_leaves_all_rows_alike() -> None:
    weights = taught(T, torch.zeros_like).weight(torch.arange(1, T + 1))
    torch.testing.assert_close(weights, torch.ones(T))


def diffusion(weighting: str, levels: str, T: int = T, prediction: str = "eps") -> Diffusion:
    config = ObjectiveConfig(weighting=weighting, levels=levels)
    return Diffusion(config, cosine(T), prediction, (1, 2, 2))


def gradients(task: Diffusion, draws: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return gradients of a network with one number over many batches of 8, and mean errors.

    100 batches are compared at once, each with its own number; their errors have one mean. With p2
    weights, the loss of x0 varies by orders of magnitude over the rows.
    """
    draw = generator(seed)
    out, errors = [], []
    for _ in range(draws // 100):
        rows = task.draw(800, 0, draw)[0]
        x0, eps = torch.randn(2, 800, 1, 2, 2, generator=draw)
        theta = torch.ones(100, requires_grad=True)
        output = theta.repeat_interleave(8)[:, None, None, None].expand_as(x0)
        loss, error = task.compare(output, x0, eps, rows)
        (100 * loss).backward()
        out.append(theta.grad)
        errors.append(error)
    return torch.cat(out), torch.stack(errors)


def test_adaptive_rows_have_the_same_gradient_on_average_with_less_noise() -> None:
    plain, adaptive = diffusion("p2", "uniform"), diffusion("p2", "adaptive")
    weight = 1 - cosine(T).alpha[1:] ** 2  # p2's of eps, which is the second moment's root too
    for i in range(20):
        rows = uniform(T, 2000, generator(i))
        adaptive.levels.update(rows, weight[rows - 1].float())
    (a, errors_a), (b, errors_b) = gradients(plain, 4000, 1), gradients(adaptive, 4000, 2)
    exact = 2 * float(weight.mean())  # E 2 w (theta - eps) at theta = 1
    for estimate in (a, b):
        error = estimate.std() / len(estimate) ** 0.5
        assert abs(float(estimate.mean()) - exact) < 4 * error
    # Of w z, w and z independent: Var = E w^2 E z^2 - (E w E z)^2 falls to (E w)^2 Var z at best.
    assert b.var() < 0.8 * a.var()
    for errors in (errors_a, errors_b):  # and what is logged stays E (1 - eps)^2 = 2
        assert abs(float(errors.mean()) - 2) < 4 * float(errors.std()) / len(errors) ** 0.5


class Two:
    """The method ``gather`` of an accelerator, as the first of two processes sees it."""

    num_processes = 1

    def __init__(self, theirs: Tensor) -> None:
        self.theirs = theirs

    def gather(self, mine: Tensor) -> Tensor:
        return torch.cat([mine, self.theirs])


def test_processes_and_parts_of_a_batch_make_no_difference() -> None:
    rows = uniform(T, 16, generator())
    x0, eps, output = torch.randn(3, 16, 1, 2, 2)

    def after(parts: list[slice], theirs: Tensor) -> Diffusion:
        task = diffusion("simple", "adaptive", prediction="v")
        for part in parts:
            task.compare(output[part], x0[part], eps[part], rows[part])
        task.agree(Two(theirs), rows)
        return task

    whole = diffusion("simple", "adaptive", prediction="v")
    whole.compare(output, x0, eps, rows)
    second = whole.seen[0][8:]
    one = after([slice(0, 16)], torch.empty(0)).state_dict()
    two = after([slice(0, 4), slice(4, 8)], second).state_dict()
    assert one.keys() == {"levels.square", "levels.count"}
    for key in one:
        assert torch.equal(one[key], two[key])
    assert one["levels.count"].sum() == 16
