"""Which cells of a sweep are worth their denoiser calls."""

from __future__ import annotations

from collections.abc import Sequence

from mezzotint.pipeline.tuned import Choice, Recommended
from mezzotint.tuning.cells import Cell, Sweep


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Which points (cost, loss) no other beats: none is at most as great in both, and less in one.

    In the order of rising cost.
    """
    front: list[int] = []
    for i in sorted(range(len(points)), key=lambda i: points[i]):
        if not front or points[i][1] < points[front[-1]][1] or points[i] == points[front[-1]]:
            front.append(i)
    return front


def front(sweep: Sweep, cells: Sequence[Cell]) -> list[Cell]:
    """The Pareto front of quality against denoiser calls, the fewest calls first."""
    found = pareto([(cell.calls, sweep.sign * cell.figure.value) for cell in cells])
    return [cells[i] for i in found]


def recommend(sweep: Sweep, cells: Sequence[Cell], budgets: Sequence[int]) -> Recommended:
    """The best of cells within each budget of denoiser calls, and the best of all."""
    best = front(sweep, cells)
    within = {n: [cell for cell in best if cell.calls <= n] for n in sorted(set(budgets))}
    return Recommended(
        metric=sweep.name,
        samples=sweep.samples,
        seed=sweep.seed,
        precision=sweep.precision,
        digest=sweep.digest,
        budgets={str(n): _choice(cells[-1]) for n, cells in within.items() if cells},
        best=_choice(best[-1]),
    )


def _choice(cell: Cell) -> Choice:
    figure = cell.figure
    return Choice(cell.how, cell.calls, figure.value, (figure.low, figure.high))
