"""Means and covariances of the rows of large arrays, computed as running sums."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mezzotint.metrics.left_out import LeftOut

CHUNK = 4096  # rows that are converted to float64 at a time


@dataclass(frozen=True)
class Moments:
    """The mean (D,) and the scatter (D, D) of n rows of D features, in float64.

    The scatter is ``sum_i (x_i - mean)(x_i - mean)^T``. ``a + b`` gives the moments of the rows of
    a and b together, without the cancellation that plain sums of squares suffer from (Chan, Golub
    and LeVeque 1983).
    """

    n: int
    mean: Tensor
    scatter: Tensor

    @staticmethod
    def of(rows: np.ndarray, order: np.ndarray | None = None) -> Moments:
        """Return the moments of ``rows`` (N, D), or only of the rows at the indices ``order``.

        The rows are read in parts, to save memory.
        """
        total = Moments(0, torch.zeros(rows.shape[1], dtype=torch.float64), torch.zeros(()))
        for start in range(0, len(rows) if order is None else len(order), CHUNK):
            part = slice(start, start + CHUNK)
            x = torch.from_numpy(rows[part if order is None else order[part]].astype(np.float64))
            mean = x.mean(0)
            x = x - mean
            total = total + Moments(len(x), mean, x.T @ x)
        return total

    def __add__(self, other: Moments) -> Moments:
        n = self.n + other.n
        apart = other.mean - self.mean
        mean = self.mean + apart * (other.n / max(n, 1))
        between = torch.outer(apart, apart) * (self.n * other.n / max(n, 1))
        return Moments(n, mean, self.scatter + other.scatter + between)

    @property
    def covariance(self) -> Tensor:
        """The covariance ``scatter / (n - 1)``, (D, D). Raises LeftOut if n is below 2."""
        if self.n < 2:
            raise LeftOut(
                f"a covariance needs two images or more, but there is {self.n}: give more images"
            )
        return self.scatter / (self.n - 1)
