"""The best cells of a sweep."""

from __future__ import annotations

import random

import pytest

from mezzotint.config.sampling import SampleConfig
from mezzotint.metrics import Figure
from mezzotint.tuning.best import pareto, within
from mezzotint.tuning.cells import SweepCell


def points(count: int, seed: int) -> list[tuple[float, float]]:
    """Return random points on a coarse grid, so that many coordinates are equal."""
    draw = random.Random(seed)
    return [(draw.randint(1, 8), draw.randint(1, 8) / 4) for _ in range(count)]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("count", [1, 2, 9, 60])
def test_the_pareto_front_is_what_no_point_beats(count: int, seed: int) -> None:
    every = points(count, seed)
    unbeaten = [
        i
        for i, (a, b) in enumerate(every)
        if not any(c <= a and d <= b and (c, d) != (a, b) for c, d in every)
    ]
    front = pareto(every)
    assert sorted(front) == unbeaten
    assert [every[i] for i in front] == sorted(every[i] for i in unbeaten)


def test_a_budget_has_the_best_cell_that_it_buys() -> None:
    front = [
        SweepCell(SampleConfig(steps=steps), Figure("fd", value, value, value, 10))
        for steps, value in ((3, 9.0), (5, 4.0), (9, 1.0))
    ]
    found = within(front, [8, 2, 3, 100, 8])
    assert {n: cell.settings.steps for n, cell in found.items()} == {3: 3, 8: 5, 100: 9}
