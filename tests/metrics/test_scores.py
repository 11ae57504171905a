from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import mezzotint as mz
from metrics.peers import fidelity

DRAW = np.random.default_rng(0)


def covariance(dim: int, rank: int | None = None) -> np.ndarray:
    a = DRAW.standard_normal((dim, rank or 2 * dim))
    return a @ a.T / a.shape[1]


def test_gaussians_along_the_axes_have_the_closed_form() -> None:
    a, b = DRAW.uniform(0.1, 4, (2, 16))
    m, n = DRAW.standard_normal((2, 16))
    wanted = ((m - n) ** 2).sum() + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    assert mz.frechet_distance(m, np.diag(a), n, np.diag(b)) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("rank", [None, 5])
def test_any_gaussians_have_the_papers_trace_term(rank: int | None) -> None:
    """tr((C_a C_b)^(1/2)) of Heusel et al., where the product is not symmetric."""
    a, b = covariance(24, rank), covariance(24)
    m, n = DRAW.standard_normal((2, 24))
    roots = np.sqrt(np.maximum(np.linalg.eigvals(a @ b).real, 0)).sum()
    wanted = ((m - n) ** 2).sum() + np.trace(a) + np.trace(b) - 2 * roots
    assert mz.frechet_distance(m, a, n, b) == pytest.approx(wanted, rel=1e-6)
    assert mz.frechet_distance(n, b, m, a) == pytest.approx(wanted, rel=1e-6)


def test_the_distance_is_torch_fidelitys() -> None:
    peer = fidelity("metric_fid")
    mix = DRAW.standard_normal((48, 48))
    rows = [torch.from_numpy(DRAW.standard_normal((n, 48)) @ mix + n / 500) for n in (300, 200)]
    a, b = (peer.fid_features_to_statistics(x) for x in rows)
    wanted = peer.fid_statistics_to_metric(a, b, verbose=False)[peer.KEY_METRIC_FID]
    ours = mz.frechet_distance(a["mu"], a["sigma"], b["mu"], b["sigma"])
    assert ours == pytest.approx(wanted, rel=1e-6)


def test_a_gaussian_is_at_no_distance_from_itself_and_rotations_change_none() -> None:
    a, b, m = covariance(16), covariance(16), DRAW.standard_normal(16)
    assert mz.frechet_distance(m, a, m, a) == pytest.approx(0, abs=1e-9)
    q = np.linalg.qr(DRAW.standard_normal((16, 16)))[0]
    turned = mz.frechet_distance(q @ m, q @ a @ q.T, q @ m, q @ b @ q.T)
    assert turned == pytest.approx(mz.frechet_distance(m, a, m, b), rel=1e-9)


def test_tensors_of_float32_are_taken_in_float64() -> None:
    m, c = torch.zeros(4), torch.eye(4)
    assert mz.frechet_distance(m, c, m + 1, 4 * c) == 4 + 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros(3), np.eye(3), np.zeros(4), np.eye(4)), "have the shapes"),
        ((np.zeros(3), np.zeros(3), np.zeros(3), np.eye(3)), "have the shapes"),
        ((np.zeros(2), np.eye(2), np.full(2, np.nan), np.eye(2)), "a mean is not finite"),
        (
            (np.zeros(2), np.eye(2), np.zeros(2), np.full((2, 2), np.inf)),
            "a covariance is not finite",
        ),
        ((np.zeros(2), np.eye(2), np.zeros(2), np.eye(2) + np.eye(2, k=1)), "is not symmetric"),
        ((np.zeros(2), -np.eye(2), np.zeros(2), np.eye(2)), "has a negative variance"),
        ((np.zeros(2), 5 - 4 * np.eye(2), np.zeros(2), np.eye(2)), "has a negative variance"),
        ((np.zeros(2), np.eye(2), np.zeros(2), 5 - 4 * np.eye(2)), "has a negative variance"),
        ((np.array(["a"]), np.eye(1), np.zeros(1), np.eye(1)), "a mean is not a number"),
        ((np.zeros(0), np.eye(0), np.zeros(0), np.eye(0)), "have the shapes"),
    ],
)
def test_what_has_no_distance_is_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(mz.UserError, match=message):
        mz.frechet_distance(*arguments)


def test_arrays_of_any_byte_order_and_stride_are_read() -> None:
    a, b, m = covariance(4), covariance(4), DRAW.standard_normal(4)
    wanted = mz.frechet_distance(m, a, m, b)
    assert mz.frechet_distance(m.astype(">f8"), a.astype(">f8"), m, b) == wanted
    turned = m[::-1], a[::-1, ::-1], m[::-1], b[::-1, ::-1]
    assert mz.frechet_distance(*turned) == pytest.approx(wanted)


def test_gaussians_in_different_planes_have_a_distance() -> None:
    q = np.linalg.qr(DRAW.standard_normal((6, 6)))[0]
    a, b = (q[:, part] @ q[:, part].T for part in (slice(0, 2), slice(3, 6)))
    assert mz.frechet_distance(np.zeros(6), a, np.zeros(6), b) == pytest.approx(5)
    nothing = np.zeros((6, 6))
    assert mz.frechet_distance(np.zeros(6), nothing, np.zeros(6), b) == pytest.approx(3)
    assert mz.frechet_distance(np.zeros(6), b, np.zeros(6), nothing) == pytest.approx(3)


def test_the_score_of_certain_and_even_predictions_is_the_number_of_classes() -> None:
    certain = np.eye(10)[np.arange(1000) % 10]
    assert mz.inception_score(certain) == pytest.approx((10, 0))
    assert mz.inception_score(np.full((50, 10), 0.1)) == pytest.approx((1, 0))


def test_the_score_is_the_papers_in_every_part() -> None:
    p = DRAW.dirichlet(np.full(7, 0.3), 103)
    parts = []
    for part in (p[:25], p[25:51], p[51:77], p[77:]):  # 103 rows, cut at floor(i * 103 / 4)
        marginal = part.mean(0)
        divergence = [
            sum(a * math.log(a / b) for a, b in zip(row, marginal, strict=True) if a)
            for row in part
        ]
        parts.append(math.exp(sum(divergence) / len(divergence)))
    assert mz.inception_score(p, splits=4) == pytest.approx((np.mean(parts), np.std(parts)))


def test_the_score_is_torch_fidelitys() -> None:
    peer = fidelity("metric_isc")
    logits = torch.from_numpy(4 * DRAW.standard_normal((503, 40)))
    wanted = peer.isc_features_to_metric(logits, splits=10, shuffle=False)
    mean, std = mz.inception_score(logits.softmax(1), splits=10)
    assert mean == pytest.approx(wanted[peer.KEY_METRIC_ISC_MEAN], rel=1e-6)
    assert std == pytest.approx(wanted[peer.KEY_METRIC_ISC_STD], rel=1e-6)


@pytest.mark.parametrize(
    ("p", "splits", "message"),
    [
        (np.full((5, 2), 0.5), 10, "into 10 parts"),
        (np.full((5, 2), 0.5), 0, "into 0 parts"),
        (np.full((5, 2), 0.5), 2.5, "into 2.5 parts"),
        (np.full(5, 0.2), 1, "of shape"),
        (np.ones((20, 3)), 2, "apply a softmax"),
        (np.full((20, 2), np.nan), 2, "not finite"),
    ],
)
def test_what_has_no_score_is_refused(p: np.ndarray, splits: float, message: str) -> None:
    with pytest.raises(mz.UserError, match=message):
        mz.inception_score(p, splits=splits)
