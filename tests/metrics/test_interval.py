"""Intervals against the spread of figures over fresh samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from mezzotint.metrics import interval
from mezzotint.metrics.interval import Interval
from mezzotint.metrics.scores import distance_to, inception_score

DIM, COUNT, SHIFT, SCALE = 8, 300, 0.2, 1.3
TRUE = DIM * SHIFT**2 + DIM * (SCALE - 1) ** 2
"""The Frechet distance of `rows`' distribution to the standard normal one."""

to_standard = distance_to(torch.zeros(DIM), torch.eye(DIM))


def rows(random: np.random.Generator) -> np.ndarray:
    return SHIFT + SCALE * random.standard_normal((COUNT, DIM))


def predictions(random: np.random.Generator, in_turn: bool) -> Tensor:
    """Return the probabilities (1000, 10) of a classifier that is surer of some classes."""
    asked = np.arange(1000) % 10 if in_turn else random.integers(10, size=1000)
    logits = random.standard_normal((1000, 10))
    logits[np.arange(1000), asked] += 0.5 + 0.6 * asked
    return torch.from_numpy(logits).softmax(1)


def half(bounds: Interval) -> float:
    return (bounds[1] - bounds[0]) / 2


def many(draw: Callable[[np.random.Generator], object], count: int) -> list:
    random = np.random.default_rng(0)
    return [draw(random) for _ in range(count)]


def test_the_limit_is_nearer_the_true_distance_than_the_plain_figure() -> None:
    found = many(lambda random: interval.of_distance(rows(random), to_standard), 20)
    at, limit, _ = np.mean(found, axis=0)
    assert at > 1.1 * TRUE
    assert abs(limit - TRUE) < 0.3 * (at - TRUE)


def test_the_plain_figure_is_the_frechet_distance() -> None:
    x = rows(np.random.default_rng(0))
    at = interval.of_distance(x, to_standard)[0]
    assert at == pytest.approx(to_standard(x.mean(0), np.cov(x.T)), rel=1e-9)


@pytest.mark.parametrize("shift", [0.0, SHIFT])
def test_a_distances_deviation_is_the_spread_of_fresh_samples(shift: float) -> None:
    """This also holds for the reference's own distribution, where the figure is only bias."""

    def draw(random: np.random.Generator) -> np.ndarray:
        return shift + (SCALE if shift else 1) * random.standard_normal((COUNT, DIM))

    found = many(lambda random: interval.of_distance(draw(random), to_standard), 60)
    at, limit, deviation = np.array(found).T
    assert deviation.mean() == pytest.approx(at.std(), rel=0.6)
    assert deviation.mean() == pytest.approx(limit.std(), rel=0.6)


def test_rows_that_come_class_by_class_have_the_same_limit() -> None:
    """The halves are drawn at random."""
    x = rows(np.random.default_rng(0))
    in_order = x[np.argsort(x[:, 0])]
    limits = [interval.of_distance(y, to_standard)[1] for y in (x, in_order)]
    assert limits[1] == pytest.approx(limits[0], rel=0.1)


def test_one_image_of_each_class_says_nothing_about_the_halves() -> None:
    """Classes of one image each cannot be split, so the interval is that without classes."""
    x = rows(np.random.default_rng(0))
    plain, single = (interval.of_distance(x, to_standard, k)[2] for k in (None, range(COUNT)))
    assert single == plain


def test_classes_in_turn_are_neither_bias_nor_spread() -> None:
    """The classes are far apart and equally frequent; only the rest is random."""

    def draw(random: np.random.Generator) -> np.ndarray:
        return 10.0 * np.eye(4)[labels] + 0.1 * random.standard_normal((320, 4))

    labels = np.arange(320) % 4
    mean, cov = 10.0 * np.full(4, 1 / 4), 100 * (np.eye(4) / 4 - 1 / 16) + 0.01 * np.eye(4)
    to_true = distance_to(mean, cov)
    found = many(lambda random: interval.of_distance(draw(random), to_true, labels), 40)
    at, limit, deviation = np.array(found).T
    assert abs(limit.mean()) < 1e-2
    assert deviation.mean() < 3 * max(at.std(), limit.std())
    _, low, wide = interval.of_distance(draw(np.random.default_rng(0)), to_true)
    assert low < -0.1  # without the labels, chance is taken for what none was in
    assert wide > 10 * deviation.mean()


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [(0, 30, 0, 0.1135), (30, 30, 0.8865, 1), (15, 30, 0.3315, 0.6685), (8, 10, 0.490, 0.943)],
)
def test_a_shares_interval_is_wilsons(right: int, count: int, low: float, high: float) -> None:
    found = interval.of_share(torch.arange(count) < right)
    assert found == pytest.approx((low, high), abs=1e-3)


@pytest.mark.parametrize("count", range(1, 40))
def test_a_shares_interval_stays_within_0_and_1(count: int) -> None:
    assert interval.of_share(torch.zeros(count))[0] == 0
    assert interval.of_share(torch.ones(count))[1] == 1


def test_a_means_interval_is_the_binomials() -> None:
    values = torch.arange(1000) < 200
    low, high = interval.of_mean(values.double())
    assert (low + high) / 2 == pytest.approx(0.2)
    assert half((low, high)) == pytest.approx(1.96 * (0.2 * 0.8 / 1000) ** 0.5, rel=0.15)


def test_a_scores_interval_is_as_wide_as_fresh_samples_spread() -> None:
    scores = many(lambda random: inception_score(predictions(random, False))[0], 200)
    found = many(lambda random: interval.of_score(predictions(random, False), 10), 5)
    wanted = pytest.approx(1.96 * np.std(scores), rel=0.35)
    assert np.mean([half(bounds) for bounds in found]) == wanted


def test_classes_in_turn_widen_no_scores_interval() -> None:
    """Row i has the same class in each split, so splits need different resamplings."""
    apart, in_turn = (
        np.mean([half(bounds) for bounds in many(draw, 5)])
        for draw in (
            lambda random: interval.of_score(predictions(random, False), 10),
            lambda random: interval.of_score(predictions(random, True), 10),
        )
    )
    assert in_turn == pytest.approx(apart, rel=0.2)


def test_intervals_do_not_depend_on_the_day() -> None:
    x, p = rows(np.random.default_rng(0)), predictions(np.random.default_rng(0), False)
    for found in (
        lambda: interval.of_distance(x, to_standard),
        lambda: interval.of_score(p, 10),
        lambda: interval.of_mean(p[:, 0]),
    ):
        assert found() == found()
