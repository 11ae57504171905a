from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mezzotint.errors import UserError
from mezzotint.metrics import moments
from mezzotint.metrics.moments import Moments

DRAW = np.random.default_rng(0)


def assert_moments(found: Moments, rows: np.ndarray, rel: float = 1e-12) -> None:
    """Check that the moments equal numpy's in float64."""
    wanted = rows.astype(np.float64)
    assert found.n == len(rows)
    np.testing.assert_allclose(found.mean, wanted.mean(0), rtol=rel)
    np.testing.assert_allclose(found.covariance, np.cov(wanted.T), rtol=rel, atol=rel)


@pytest.mark.parametrize("n", [2, 7, 8, 9, 50])
def test_they_are_numpys_wherever_the_chunks_end(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "CHUNK", 8)
    rows = DRAW.standard_normal((n, 5)).astype(np.float32)
    assert_moments(Moments.of(rows), rows)


@pytest.mark.parametrize("cut", [1, 13, 39])
def test_those_of_two_sets_add_up_to_those_of_both(cut: int) -> None:
    rows = DRAW.standard_normal((40, 5)) + 3
    assert_moments(Moments.of(rows[:cut]) + Moments.of(rows[cut:]), rows)
    assert_moments(Moments.of(rows[:0]) + Moments.of(rows), rows)


def test_a_large_offset_cancels_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain sums of squares would keep 4 of 16 digits here."""
    monkeypatch.setattr(moments, "CHUNK", 100)
    rows = DRAW.standard_normal((1000, 3)) + 1e6
    found = Moments.of(rows)
    np.testing.assert_allclose(found.covariance, np.cov((rows - 1e6).T), rtol=0, atol=1e-9)


def test_an_order_picks_rows_and_may_repeat_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "CHUNK", 8)
    rows = DRAW.standard_normal((30, 4))
    order = DRAW.integers(30, size=45)
    assert_moments(Moments.of(rows, order), rows[order])


def test_fewer_rows_than_features_have_a_covariance_of_lower_rank() -> None:
    rows = DRAW.standard_normal((4, 9))
    found = Moments.of(rows)
    assert_moments(found, rows)
    assert np.linalg.matrix_rank(found.covariance) == 3


def test_a_constant_feature_varies_by_nothing() -> None:
    rows = np.full((5000, 2), 0.1, np.float32)
    assert not Moments.of(rows).scatter.any()


def test_rows_may_lie_on_the_disk(tmp_path: Path) -> None:
    rows = DRAW.standard_normal((20, 3)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    assert_moments(Moments.of(np.load(tmp_path / "rows.npy", mmap_mode="r")), rows)


@pytest.mark.parametrize("n", [0, 1])
def test_a_single_row_has_no_covariance(n: int) -> None:
    with pytest.raises(UserError, match=f"two images or more, but there is {n}"):
        _ = Moments.of(np.ones((n, 3))).covariance
