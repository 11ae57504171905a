from __future__ import annotations

import pytest
import torch

from metrics.peers import fidelity
from mezzotint.errors import UserError
from mezzotint.metrics.kd import kernel_distance


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_the_kernel_distance_is_torch_fidelitys(shift: float) -> None:
    peer = fidelity("metric_kid")
    draw = torch.Generator().manual_seed(0)
    a = torch.randn(400, 64, generator=draw, dtype=torch.float64)
    b = torch.randn(300, 64, generator=draw, dtype=torch.float64) + shift
    wanted = peer.kid_features_to_metric(
        a, b, kid_subsets=20, kid_subset_size=100, rng_seed=7, verbose=False
    )
    mean, std = kernel_distance(a, b, subsets=20, size=100, seed=7)
    assert mean == pytest.approx(wanted[peer.KEY_METRIC_KID_MEAN], rel=1e-6)
    assert std == pytest.approx(wanted[peer.KEY_METRIC_KID_STD], rel=1e-6)


def test_it_is_the_polynomial_kernels_discrepancy_pair_by_pair(draw: torch.Generator) -> None:
    a, b = (torch.randn(6, 3, generator=draw, dtype=torch.float64) for _ in range(2))

    def k(x: torch.Tensor, y: torch.Tensor) -> float:
        return (float(x @ y) / 3 + 1) ** 3

    pairs = [(i, j) for i in range(6) for j in range(6) if i != j]
    within = sum(k(a[i], a[j]) + k(b[i], b[j]) for i, j in pairs) / 30
    across = sum(k(x, y) for x in a for y in b) / 36
    mean, std = kernel_distance(a, b, subsets=3, size=6)
    assert mean == pytest.approx(within - 2 * across)
    assert std == pytest.approx(0, abs=1e-9)  # the subsets are all there is


def test_it_is_zero_on_average_where_the_sets_are_of_one_distribution(
    draw: torch.Generator,
) -> None:
    values = []
    for _ in range(100):
        a, b = torch.randn(2, 60, 8, generator=draw)
        values.append(kernel_distance(a, b, subsets=1, size=60)[0])
    assert min(values) < 0 < max(values)
    error = torch.tensor(values).std() / 10
    assert abs(sum(values) / 100) < 3 * error


def test_float32_rows_are_taken_in_float64(draw: torch.Generator) -> None:
    a, b = torch.randn(2, 50, 8, generator=draw)
    assert kernel_distance(a, b, size=40) == kernel_distance(a.double(), b.double(), size=40)


@pytest.mark.parametrize(
    ("a", "b", "size", "message"),
    [
        (9, 50, 10, "needs 10 images of each set, but one set has 9 images: give"),
        (50, 8, 10, "needs 10 images of each set, but one set has 8 images: give"),
        (50, 50, 1, "needs subsets of 2 images or more: give more"),
        (0, 50, 2, "needs 2 images of each set, but one set has 0 images: give"),
    ],
)
def test_too_few_rows_are_named(a: int, b: int, size: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        kernel_distance(torch.zeros(a, 3), torch.zeros(b, 3), size=size)
