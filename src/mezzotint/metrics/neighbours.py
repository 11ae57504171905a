"""Nearest neighbours in feature space.

All distances are Euclidean, in float64, and computed in blocks of rows.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from mezzotint.errors import UserError, counted

BLOCK = 1000


def nearest(queries: Tensor, among: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
    """Find the k nearest rows of ``among`` (N, D) to each query: distances and rows, (Q, k) each.

    Raises UserError for fewer than k rows.
    """
    if len(among) < k:
        raise UserError(
            f"{counted(k, 'nearest neighbour')} cannot be found among "
            f"{counted(len(among), 'image')}: give {k} or more"
        )
    found = [block.topk(k, largest=False) for block in distances(queries, among)]
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


def distances(queries: Tensor, among: Tensor) -> Iterator[Tensor]:
    """Yield the distances of the queries block by block, each (at most BLOCK, N)."""
    among = among.double()
    for block in torch.split(queries, BLOCK):
        yield torch.cdist(block.double(), among)
