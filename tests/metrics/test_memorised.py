"""The metric finds copies of training images, and only these."""

from __future__ import annotations

import pytest
import torch

from mezzotint.errors import UserError
from mezzotint.metrics.memorised import copied


def test_planted_copies_are_found(draw: torch.Generator) -> None:
    training = torch.randn(500, 16, generator=draw)
    rows = torch.randperm(500, generator=draw)[:50]
    assert copied(training[rows] + 1e-3 * torch.randn(50, 16, generator=draw), training).all()


def test_far_off_images_are_no_copies(draw: torch.Generator) -> None:
    training = torch.randn(500, 16, generator=draw)
    assert not copied(100 + torch.randn(20, 16, generator=draw), training).any()


@pytest.mark.parametrize(("dim", "chance"), [(1, 2 / 3), (2, 0.6215)])
def test_fresh_images_seem_copies_as_often_as_neighbours_are_mutual(
    dim: int, chance: float, draw: torch.Generator
) -> None:
    """6 pi / (8 pi + 3 sqrt(3)) in the plane (Clark and Evans 1955), 2/3 on a line."""
    training = torch.rand(4000, dim, generator=draw)
    fresh = torch.rand(4000, dim, generator=draw)
    assert float(copied(fresh, training).double().mean()) == pytest.approx(chance, abs=0.03)


def test_fresh_images_seem_copies_as_often_as_held_out_ones(draw: torch.Generator) -> None:
    training = torch.randn(1000, 8, generator=draw)
    fresh, held_out = (
        float(copied(torch.randn(1000, 8, generator=draw), training).double().mean())
        for _ in range(2)
    )
    assert fresh < 0.6
    assert fresh == pytest.approx(held_out, abs=0.07)


def test_a_training_set_of_one_has_no_neighbours() -> None:
    with pytest.raises(
        UserError, match="2 nearest neighbours cannot be found among 1 image: give 2 images"
    ):
        copied(torch.zeros(4, 3), torch.zeros(1, 3))
