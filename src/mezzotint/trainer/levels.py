"""The choice of training levels: uniform, or more often where the loss is large."""

from __future__ import annotations

import torch
from torch import Tensor, nn

BINS = 64
SEEN = 10  # the number of samples that every bin needs; before that p is uniform
MEMORY = 200  # the number of samples in the running mean of a bin
UNIFORM = 0.1  # share of the samples that are drawn uniformly; weights are at most its inverse, 10


def uniform(T: int, batch: int, generator: torch.Generator) -> Tensor:
    """Draw ``batch`` timesteps of the schedule uniformly, as indices (B,), int64 from 1 to T."""
    return torch.randint(1, T + 1, (batch,), generator=generator, device=generator.device)


class Adaptive(nn.Module):
    """Importance sampling of the T timesteps of a schedule: timestep i has the probability p_i.

    A tenth of the timesteps is drawn uniformly. The others are drawn in proportion to
    ``sqrt(E L_i^2)`` for the loss L_i at timestep i. If all were drawn in this proportion, the
    variance of the loss would be as small as possible (Nichol and Dhariwal 2021, arXiv 2102.09672,
    section 3.3). The loss is multiplied by ``1 / (T p_i)``, so the loss and its gradient have the
    same expectations as with uniform timesteps. The expectation E is a running mean over about the
    last 200 samples of a bin; there are 64 bins of timesteps. All p_i are equal until every
    bin has had 10 samples. If 64 does not divide T, the sizes of the bins differ by one timestep,
    and p_i and ``1 / (T p_i)`` take this into account.

    The statistics are buffers, so they are saved and restored. They are the same in every process
    that gets the same losses.
    """

    square: Tensor
    count: Tensor
    first: Tensor
    size: Tensor

    def __init__(self, T: int) -> None:
        super().__init__()
        bins = min(BINS, T)
        first = -(-torch.arange(bins + 1) * T // bins)  # each bin's first timestep, from 0
        self.register_buffer("square", torch.zeros(bins, dtype=torch.float64))
        self.register_buffer("count", torch.zeros(bins, dtype=torch.float64))
        self.register_buffer("first", first[:-1], persistent=False)
        self.register_buffer("size", first.diff().double(), persistent=False)

    def draw(self, batch: int, generator: torch.Generator) -> Tensor:
        """Draw ``batch`` timesteps (B,), int64 from 1 to T; timestep i has the probability p_i."""
        u = torch.rand(batch, generator=generator, device=generator.device, dtype=torch.float64)
        p = self._p()
        upper = p.cumsum(0)
        at = torch.searchsorted(upper, u, right=True).clamp(max=len(p) - 1)
        within = ((u - upper[at] + p[at]) / p[at]).clamp(0, 1)  # the position of u in its bin
        row = (within * self.size[at]).long().minimum(self.size[at].long() - 1)
        return self.first[at] + row + 1

    def weight(self, rows: Tensor) -> Tensor:
        """Return the factors ``1 / (T p_i)`` of the losses at timesteps ``rows`` (B,), float32.

        p_i is the probability of timestep i. The factors are 1 on average, and at most 10.
        """
        share = self.size / self.size.sum()
        return (share / self._p())[self._bin(rows)].float()

    def update(self, rows: Tensor, losses: Tensor) -> None:
        """Update the statistics with a batch's timesteps (B,) and unweighted losses (B,)."""
        # Sum over a table, because a scatter adds in random order on a GPU.
        table = nn.functional.one_hot(self._bin(rows), len(self.count)).double()
        n = table.sum(0)
        mean = (table * losses.double()[:, None] ** 2).sum(0) / n.clamp(min=1)
        self.count += n
        step = n / self.count.clamp(max=MEMORY).maximum(n).clamp(min=1)
        self.square.lerp_(mean, step)

    def _p(self) -> Tensor:
        """Return the probability of each bin, float64."""
        ready = self.count.min() >= SEEN
        # The clamp makes p uniform again if all losses are 0.
        root = torch.where(ready, self.square.sqrt().clamp(min=1e-12), 1.0) * self.size
        return UNIFORM * self.size / self.size.sum() + (1 - UNIFORM) * root / root.sum()

    def _bin(self, rows: Tensor) -> Tensor:
        """Return the indices of the bins to which timesteps belong."""
        return (rows - 1) * len(self.size) // self.size.sum().long()
