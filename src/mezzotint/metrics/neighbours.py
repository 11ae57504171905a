"""Nearest neighbours in feature space.

All distances are Euclidean, in float64, and computed in blocks of rows.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from mezzotint.errors import UserError, counted

BLOCK = 1000  # queries that are compared at a time


def nearest(queries: Tensor, among: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
    """Find the k nearest rows of ``among`` (N, D) to each of the queries (Q, D).

    Returns their distances and their indices in ``among``, (Q, k) each, the nearest first. Raises
    UserError if ``among`` has fewer than k rows.
    """
    if len(among) < k:
        raise UserError(
            f"{counted(k, 'nearest neighbour')} cannot be found among "
            f"{counted(len(among), 'image')}: give {k} images or more"
        )
    found = [block.topk(k, largest=False) for block in distances(queries, among)]
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


def distances(queries: Tensor, among: Tensor) -> Iterator[Tensor]:
    """Yield the distances of queries (Q, D) to all rows of ``among`` (N, D), in blocks of queries.

    Each block has the shape (b, N), where b is at most BLOCK.
    """
    among = among.double()
    for block in torch.split(queries, BLOCK):
        yield torch.cdist(block.double(), among)
