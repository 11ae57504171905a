"""Which rows of the schedule a batch trains on: all alike, or more of those that teach most."""

from __future__ import annotations

import torch
from torch import Tensor, nn

BINS = 64
SEEN = 10  # samples of every bin before any is preferred
MEMORY = 200  # samples that a bin's running mean looks back on
UNIFORM = 0.1  # share of the samples drawn from all rows alike: no weight is above its inverse


def uniform(T: int, batch: int, generator: torch.Generator) -> Tensor:
    """``batch`` rows, (B,) int64 of 1..T, each as likely as any other."""
    return torch.randint(1, T + 1, (batch,), generator=generator, device=generator.device)


class Adaptive(nn.Module):
    """Rows by importance: ``p_i ~ sqrt(E L_i^2)``, over 64 equal bins of rows.

    The loss is to be multiplied by ``1 / (T p_i)``, so that its expectation, and the gradient's, is
    as of uniform rows, of which it is the estimate of least variance as far as the loss tells
    (Nichol and Dhariwal 2021, arXiv 2102.09672, section 3.3). A tenth of p is uniform. E is a
    running mean over a bin's last 200 samples or so, and p uniform until each bin has had 10. Where
    64 does not divide T, bins differ by a row, of which p and the weight take account.

    What it has seen are its buffers: saved, restored, and the same on every process that is told
    the same losses.
    """

    square: Tensor
    count: Tensor
    first: Tensor
    size: Tensor

    def __init__(self, T: int) -> None:
        super().__init__()
        bins = min(BINS, T)
        first = -(-torch.arange(bins + 1) * T // bins)  # the first row of each, counted from 0
        self.register_buffer("square", torch.zeros(bins, dtype=torch.float64))
        self.register_buffer("count", torch.zeros(bins, dtype=torch.float64))
        self.register_buffer("first", first[:-1], persistent=False)
        self.register_buffer("size", first.diff().double(), persistent=False)

    def draw(self, batch: int, generator: torch.Generator) -> Tensor:
        """``batch`` rows, (B,) int64 of 1..T, by the inverse of p's distribution function."""
        u = torch.rand(batch, generator=generator, device=generator.device, dtype=torch.float64)
        p = self._p()
        upper = p.cumsum(0)
        at = torch.searchsorted(upper, u, right=True).clamp(max=len(p) - 1)
        within = ((u - upper[at] + p[at]) / p[at]).clamp(0, 1)  # where in its bin u has fallen
        row = (within * self.size[at]).long().minimum(self.size[at].long() - 1)
        return self.first[at] + row + 1

    def weight(self, rows: Tensor) -> Tensor:
        """``1 / (T p_i)`` of rows (B,), float32: in the mean over what is drawn 1, at most 10."""
        share = self.size / self.size.sum()
        return (share / self._p())[self._bin(rows)].float()

    def update(self, rows: Tensor, losses: Tensor) -> None:
        """Take account of a whole batch: rows (B,) and the loss of each (B,), not weighted."""
        # A sum over a table and not a scatter, whose order on a GPU is chance.
        table = nn.functional.one_hot(self._bin(rows), len(self.count)).double()
        n = table.sum(0)
        mean = (table * losses.double()[:, None] ** 2).sum(0) / n.clamp(min=1)
        self.count += n
        step = n / self.count.clamp(max=MEMORY).maximum(n).clamp(min=1)
        self.square.lerp_(mean, step)

    def _p(self) -> Tensor:
        """The probability of each bin, float64."""
        ready = self.count.min() >= SEEN
        # Where nothing is lost anywhere all rows are alike again.
        root = torch.where(ready, self.square.sqrt().clamp(min=1e-12), 1.0) * self.size
        return UNIFORM * self.size / self.size.sum() + (1 - UNIFORM) * root / root.sum()

    def _bin(self, rows: Tensor) -> Tensor:
        return (rows - 1) * len(self.size) // self.size.sum().long()
