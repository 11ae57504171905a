"""Distances between images and their reconstructions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mezzotint.metrics import frechet_distance, interval, kernel_distance
from mezzotint.metrics import pairs as of_pairs
from mezzotint.metrics.pairs import frechet_of_pairs, kernel_of_pairs


@pytest.fixture(autouse=True)
def few_halvings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use few halvings, because each takes two eigendecompositions."""
    monkeypatch.setattr(interval, "HALVINGS", 5)


def pairs(n: int, d: int, apart: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features of images and of reconstructions, both N(0, I), which are correlated."""
    random = np.random.default_rng(seed)
    real, other = random.standard_normal((2, n, d))
    made = np.cos(apart) * real + np.sin(apart) * other
    return made.astype(np.float32), real.astype(np.float32)


def test_the_kernel_distance_of_pairs_is_its_definition(monkeypatch) -> None:
    monkeypatch.setattr(of_pairs, "ROWS", 4)
    x, y = pairs(10, 3, 0.5, 0)
    k = lambda a, b: (float(a @ b) / 3 + 1) ** 3  # noqa: E731
    wanted = [
        k(x[i], x[j]) + k(y[i], y[j]) - k(x[i], y[j]) - k(y[i], x[j])
        for i in range(10)
        for j in range(10)
        if i != j
    ]
    assert kernel_of_pairs(x, y)[0] == pytest.approx(np.mean(wanted), rel=1e-6)


def test_the_kernel_distance_of_pairs_is_unbiased() -> None:
    """It is 0 on average; the distance for independent sets is far below 0."""
    paired, naive = [], []
    for seed in range(60):
        x, y = pairs(60, 4, 0.3, seed)
        paired.append(kernel_of_pairs(x, y)[0])
        naive.append(kernel_distance(torch.tensor(x), torch.tensor(y), 1, 60)[0])
    error = np.std(paired) / 60**0.5
    assert abs(np.mean(paired)) < 3 * error
    assert np.mean(naive) < -20 * error


@pytest.mark.parametrize("distance", [frechet_of_pairs, kernel_of_pairs])
def test_the_interval_is_the_spread_over_other_pairs(distance, monkeypatch) -> None:
    monkeypatch.setattr(interval, "HALVINGS", 20)
    values, deviations = [], []
    for seed in range(40):
        made, real = pairs(400, 4, 0.3, seed)
        value, (low, high) = distance(made * 1.2 + 0.1, real)  # no two sets of one distribution
        values.append(value)
        deviations.append((high - low) / 2 / 1.96)
    assert np.median(deviations) == pytest.approx(np.std(values), rel=0.35)


def test_the_frechet_distance_of_pairs_is_that_of_the_sets() -> None:
    made, real = pairs(50, 4, 0.5, 0)
    moments = made.mean(0), np.cov(made.T), real.mean(0), np.cov(real.T)
    assert frechet_of_pairs(made, real)[0] == pytest.approx(frechet_distance(*moments), rel=1e-4)
