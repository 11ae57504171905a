"""The doctor's findings about weights made by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from exact import SIDE, exact, gaussian
from mezzotint.doctor import weights


@pytest.fixture
def known() -> tuple[Tensor, Tensor, Tensor]:
    """Gaussian data of two classes: x0, eps and labels."""
    labels = torch.arange(128) % 2
    eps = torch.randn(128, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2))
    return gaussian(labels), eps, labels


def test_the_exact_denoiser_is_accused_of_nothing(known) -> None:
    x0, eps, labels = known
    found = weights.errors(exact(), x0, eps, labels)
    assert found.shape == (3, 128)
    assert weights.informed(found).severity == "well"
    assert weights.labels_matter(exact(), x0, eps, labels).severity == "well"


def test_a_network_that_is_noise_or_deaf_is_named(known) -> None:
    x0, eps, labels = known
    assert weights.informed(weights.errors(exact(wrong=2.0), x0, eps, labels)).severity == "wrong"
    deaf = exact(told=False)
    assert weights.labels_matter(deaf, x0, eps, labels).severity == "wrong"
    shuffled = labels[torch.randperm(128, generator=torch.Generator().manual_seed(0))]
    assert weights.labels_matter(exact(), x0, eps, shuffled).severity == "doubtful"


def test_an_average_that_lags_is_named() -> None:
    raw = 0.3 + 0.05 * torch.rand(128)
    assert weights.lagging(0.15, raw - 0.01, raw).severity == "well"
    assert weights.lagging(0.15, raw + 0.01, raw).severity == "well"
    assert weights.lagging(0.15, raw + 0.15, raw).severity == "doubtful"
    assert weights.lagging(0.15, raw + 0.5, raw).severity == "wrong"
    assert weights.lagging(0.9, raw, raw).severity == "doubtful"


def test_the_distance_of_an_average_is_that_of_theory() -> None:
    """On a straight path it is the mean age of the average, 0.05 / ln 2 of all images.

    The distance of the first weights is 1.
    """
    end, start = {"w": torch.ones(3)}, {"w": torch.zeros(3)}
    assert weights.distance({"w": torch.full((3,), 1 - 0.072)}, end, start) == pytest.approx(0.072)
    assert weights.distance(start, end, start) == 1
    assert weights.distance(end, end, end) == 0
