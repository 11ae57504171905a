"""What follows from nearest neighbours in feature space: precision to coverage, memorisation.

All distances are Euclidean, in float64, and made a block of rows at a time.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from mezzotint.errors import UserError

BLOCK = 1000
PRECISION_K, DENSITY_K = 3, 5  # neighbours that span a ball, as each paper has it


def nearest(queries: Tensor, among: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
    """Distances and rows, both (Q, k), of the k rows of ``among`` (N, D) nearest to each query."""
    if len(among) < k:
        raise UserError(f"{k} nearest neighbours need more than {len(among)} pictures")
    found = [block.topk(k, largest=False) for block in _distances(queries, among)]
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


def neighbourhood(real: Tensor, made: Tensor) -> dict[str, Tensor]:
    """Each row's part in precision, recall, density and coverage: the figure is their mean.

    A ball about each row reaches to its k-th neighbour in its own set. Precision is the share of
    made pictures in a real one's ball, recall the share of real ones in a made one's ball, k = 3
    (Kynkaanniemi et al. 2019, arXiv 1904.06991); density counts the real balls a made picture is
    in, over k, and coverage is the share of real balls with a made picture in them, k = 5 (Naeem et
    al. 2020, arXiv 2002.09797). ``real`` (N, D) and ``made`` (M, D); precision and density come
    as (M,), recall and coverage as (N,).
    """
    if (fewest := min(len(real), len(made))) <= DENSITY_K:
        raise UserError(f"precision and recall of {fewest} pictures: give at least {DENSITY_K + 1}")
    # A row's nearest is itself, at distance 0.
    real_radii = nearest(real, real, DENSITY_K + 1)[0]
    narrow, wide = real_radii[:, PRECISION_K], real_radii[:, DENSITY_K]
    made_radii = nearest(made, made, PRECISION_K + 1)[0][:, PRECISION_K]
    precision, density = [], []
    recall = torch.zeros(len(real), dtype=torch.bool)
    closest = torch.full_like(wide, torch.inf)  # the made picture nearest to each real one
    start = 0
    for block in _distances(made, real):
        precision.append((block <= narrow).any(1))
        density.append((block <= wide).sum(1) / DENSITY_K)
        radii = made_radii[start : start + len(block), None]
        recall |= (block <= radii).any(0)
        closest = torch.minimum(closest, block.min(0).values)
        start += len(block)
    return {
        "precision": torch.cat(precision).double(),
        "recall": recall.double(),
        "density": torch.cat(density).double(),
        "coverage": (closest <= wide).double(),
    }


def copied(made: Tensor, training: Tensor) -> Tensor:
    """Which made pictures are suspiciously near to a training picture: (M,) bool.

    Near is nearer than that training picture's own nearest neighbour in the training set (the
    complement of the authenticity of Alaa et al. 2022, arXiv 2102.08921), or at no distance at all,
    whatever duplicates that set has. Pictures never seen, of the same distribution, are near by
    chance: read the share beside that of a test set.
    """
    distance, row = nearest(made, training)
    rows, back = torch.unique(row[:, 0], return_inverse=True)
    own = nearest(training[rows], training, 2)[0][:, 1]
    none = 1e-4 * training.double().norm(dim=1).mean()
    return distance[:, 0] < own[back].clamp(min=none)


def _distances(queries: Tensor, among: Tensor) -> Iterator[Tensor]:
    among = among.double()
    for block in torch.split(queries, BLOCK):
        yield torch.cdist(block.double(), among)
