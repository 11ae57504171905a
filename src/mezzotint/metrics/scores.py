"""The Frechet distance and the inception score, computed in float64.

A Frechet distance is an FID only if the features come from the Inception network of 2015-12-05.
FIDs are comparable only if the numbers of samples are equal.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from mezzotint.errors import UserError

ROUNDING = 1e-3  # the largest error of a covariance, as a share of its largest element


def frechet_distance(
    mean_a: ArrayLike, cov_a: ArrayLike, mean_b: ArrayLike, cov_b: ArrayLike
) -> float:
    """Return ``|m_a - m_b|^2 + tr(C_a) + tr(C_b) - 2 tr((C_a^(1/2) C_b C_a^(1/2))^(1/2))``.

    It is the distance between two Gaussians with means m (D,) and covariances C (D, D), in squared
    units of the features (Frechet 1957; Heusel et al. 2017, arXiv 1706.08500). ``C_a^(1/2) C_b
    C_a^(1/2)`` is symmetric, so the last trace is computed from real eigenvalues. Covariances may
    be singular. Raises UserError for shapes that do not match, values that are not finite, and
    matrices that are not covariances.
    """
    return distance_to(mean_a, cov_a)(mean_b, cov_b)


def distance_to(mean_a: ArrayLike, cov_a: ArrayLike) -> Callable[[ArrayLike, ArrayLike], float]:
    """Return a function for the Frechet distance to one Gaussian.

    The returned function takes the mean and the covariance of another Gaussian. The square root of
    ``cov_a`` is computed only once.
    """
    ma, ca = _float64("a mean", mean_a), _float64("a covariance", cov_a)
    square = ca.ndim == 2 and ca.shape[0] == ca.shape[1] > 0
    root = _root(ca) if square else ca
    proper = square and _same(root @ root, ca)  # not if ca has negative eigenvalues

    def distance(mean_b: ArrayLike, cov_b: ArrayLike) -> float:
        mb, cb = _float64("a mean", mean_b), _float64("a covariance", cov_b)
        d = len(ma) if ma.ndim == 1 else 0
        if not d or mb.shape != ma.shape or not ca.shape == cb.shape == (d, d):
            shapes = ", ".join(str(tuple(t.shape)) for t in (ma, ca, mb, cb))
            raise UserError(
                f"the two means and covariances have the shapes {shapes}: give means (D,) and "
                "covariances (D, D)"
            )
        product = torch.linalg.eigvalsh(root @ cb @ root)
        rounding = ROUNDING * cb.abs().max()
        least = min(cb.diagonal().min(), product.min() / ca.abs().max().clamp(min=1e-300))
        if not (proper and _same(cb, cb.T) and least >= -rounding):
            raise UserError(
                "a covariance is not symmetric, or has a negative variance: give the covariance of "
                "features, such as np.cov(features, rowvar=False)"
            )
        roots = product.clamp(min=0).sqrt()
        squared = (ma - mb).square().sum() + ca.trace() + cb.trace() - 2 * roots.sum()
        return max(float(squared), 0.0)

    return distance


def inception_score(probabilities: ArrayLike, splits: int = 10) -> tuple[float, float]:
    """Return the mean and standard deviation of the inception score over groups of images.

    ``probabilities`` (N, K) come from a classifier, and each row sums to 1. They are split into
    ``splits`` groups of consecutive rows. The score of a group is ``exp(E_x KL(p(y|x) || p(y)))``.
    The standard deviation has the divisor ``splits``, not ``splits - 1``. The score is 1 if all
    images look alike, and K if all classes are equally frequent and all predictions certain
    (Salimans et al. 2016, arXiv 1606.03498). Raises UserError if there are fewer rows than groups,
    or if a row does not hold probabilities.
    """
    p = _float64("a probability", probabilities)
    if p.ndim != 2 or not hasattr(splits, "__index__") or not 1 <= splits <= len(p):
        raise UserError(
            f"probabilities of shape {tuple(p.shape)} cannot be split into {splits} parts: give "
            "(N, K), with at least one row for each part"
        )
    if p.min() < 0 or not torch.allclose(p.sum(1), p.new_ones(()), rtol=0, atol=1e-3):
        raise UserError(
            "a row of `probabilities` has negative values or does not sum to 1: apply a softmax "
            "first"
        )
    scores = torch.stack([_score(part) for part in parts(p, splits)])
    return float(scores.mean()), float(scores.std(correction=0))


def parts(rows: Tensor, count: int) -> list[Tensor]:
    """Split rows into ``count`` groups of consecutive rows, of nearly equal size."""
    ends = [i * len(rows) // count for i in range(count + 1)]
    return [rows[start:end] for start, end in pairwise(ends)]


def _score(p: Tensor) -> Tensor:
    """Return the inception score of one group of images, given their probabilities (n, K)."""
    marginal = p.mean(0, keepdim=True)
    divergence = (torch.xlogy(p, p) - torch.xlogy(p, marginal)).sum(1)
    return divergence.mean().exp()


def _same(a: Tensor, b: Tensor) -> bool:
    """Return whether two matrices are equal up to rounding."""
    return bool((a - b).abs().max() <= ROUNDING * b.abs().max())


def _root(covariance: Tensor) -> Tensor:
    """Return the symmetric square root of a covariance (D, D)."""
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = vectors * values.clamp(min=0).sqrt() @ vectors.T
    return root


def _float64(what: str, values: ArrayLike) -> Tensor:
    """Convert values to float64 on the CPU; ``what`` names them in errors.

    Raises UserError for anything but numbers, and for numbers that are not finite.
    """
    try:
        rows = values.detach().cpu() if isinstance(values, Tensor) else np.array(values, np.float64)
        tensor = torch.as_tensor(rows, dtype=torch.float64)
    except (TypeError, ValueError):
        raise UserError(f"{what} is not a number: give arrays of numbers") from None
    if not tensor.isfinite().all():
        raise UserError(f"{what} is not finite: check the features from which it was computed")
    return tensor
