"""Precision, recall, density and coverage, against the papers that define them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mezzotint.errors import UserError
from mezzotint.metrics import neighbours
from mezzotint.metrics.prdc import neighbourhood


def figures(real: Tensor, made: Tensor) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in neighbourhood(real, made).items()}


def by_the_papers(real: Tensor, made: Tensor) -> dict[str, float]:
    """Kynkaanniemi et al. 2019, equation 1, and Naeem et al. 2020, equations 4 and 5."""
    real, made = real.tolist(), made.tolist()

    def radius(rows: list, i: int, k: int) -> float:
        return sorted(math.dist(rows[i], row) for j, row in enumerate(rows) if j != i)[k - 1]

    narrow = [radius(real, i, 3) for i in range(len(real))]
    wide = [radius(real, i, 5) for i in range(len(real))]
    own = [radius(made, j, 3) for j in range(len(made))]
    n, m = range(len(real)), range(len(made))
    inside = [[math.dist(real[i], made[j]) <= wide[i] for j in m] for i in n]
    return {
        "precision": sum(any(math.dist(real[i], y) <= narrow[i] for i in n) for y in made) / len(m),
        "recall": sum(any(math.dist(x, made[j]) <= own[j] for j in m) for x in real) / len(n),
        "density": sum(map(sum, inside)) / (5 * len(m)),
        "coverage": sum(map(any, inside)) / len(n),
    }


@pytest.mark.parametrize(("n", "m"), [(40, 23), (23, 40), (6, 6)])
@pytest.mark.parametrize("block", [7, 1000])
def test_the_figures_are_the_papers(
    n: int, m: int, block: int, draw: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "BLOCK", block)
    real = torch.randn(n, 3, generator=draw)
    made = 0.8 * torch.randn(m, 3, generator=draw) + 0.5
    assert figures(real, made) == pytest.approx(by_the_papers(real, made))
    rows = {name: len(values) for name, values in neighbourhood(real, made).items()}
    assert rows == {"precision": m, "recall": n, "density": m, "coverage": n}


def test_a_set_is_as_precise_and_as_complete_as_itself(draw: torch.Generator) -> None:
    rows = torch.randn(100, 5, generator=draw)
    found = figures(rows, rows.clone())
    assert (found["precision"], found["recall"], found["coverage"]) == (1, 1, 1)
    assert 1 <= found["density"] <= 1.2  # the fifth neighbour lies on the ball's rim


def test_samples_of_one_distribution_have_density_one(draw: torch.Generator) -> None:
    """On average a ball holds as many made rows as real ones, except at the border."""
    real, made = torch.rand(2, 2000, 2, generator=draw)
    assert figures(real, made)["density"] == pytest.approx(1, abs=0.05)


def test_a_class_that_is_never_made_costs_recall_and_coverage_alone(draw: torch.Generator) -> None:
    far = 20 * torch.eye(4)
    real, made = (torch.randn(4, 50, 4, generator=draw) + far[:, None] for _ in range(2))
    whole = figures(real.flatten(0, 1), made.flatten(0, 1))
    without = figures(real.flatten(0, 1), made[:3].flatten(0, 1))
    for name in ("recall", "coverage"):
        assert without[name] == pytest.approx(0.75 * whole[name], abs=0.05)
    for name in ("precision", "density"):
        assert without[name] == pytest.approx(whole[name], abs=0.1)


def test_noise_costs_precision_and_density_alone(draw: torch.Generator) -> None:
    real, made = torch.randn(2, 200, 4, generator=draw)
    noise = 50 + 20 * torch.randn(200, 4, generator=draw)
    clean, mixed = figures(real, made), figures(real, torch.cat([made, noise]))
    for name in ("precision", "density"):
        assert mixed[name] == pytest.approx(clean[name] / 2, abs=0.01)
    assert mixed["coverage"] == clean["coverage"]
    assert mixed["recall"] >= clean["recall"]


@pytest.mark.parametrize(("n", "m"), [(5, 50), (50, 5), (0, 50), (50, 0)])
def test_too_few_images_are_refused(n: int, m: int) -> None:
    with pytest.raises(UserError, match=f"need 6 images of each set, but one set has {min(n, m)}"):
        neighbourhood(torch.zeros(n, 3), torch.zeros(m, 3))
