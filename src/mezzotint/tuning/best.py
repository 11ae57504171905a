"""The best settings of a sweep for each number of denoiser calls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mezzotint.pipeline.tuned import BestSettings, Recommended
from mezzotint.tuning.cells import SweepCell
from mezzotint.tuning.search import Search


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the points (cost, loss) that no other point beats, in order of cost.

    A point beats another if neither of its two numbers is greater, and at least one is less.
    """
    front: list[int] = []
    for i in sorted(range(len(points)), key=lambda i: points[i]):
        if not front or points[i][1] < points[front[-1]][1] or points[i] == points[front[-1]]:
            front.append(i)
    return front


def front(search: Search, cells: Sequence[SweepCell]) -> list[SweepCell]:
    """Return the Pareto front of quality against denoiser calls; its last cell is the best."""
    found = pareto([(cell.calls, search.sign * cell.figure.value) for cell in cells])
    return [cells[i] for i in found]


def within(front: Sequence[SweepCell], budgets: Iterable[int]) -> dict[int, SweepCell]:
    """Return the best cell of a sweep within each budget of denoiser calls.

    A budget is left out if every cell needs more calls.
    """
    affordable = {n: [cell for cell in front if cell.calls <= n] for n in sorted(set(budgets))}
    return {n: cells[-1] for n, cells in affordable.items() if cells}


def recommended(search: Search, best: SweepCell, budgets: dict[int, SweepCell]) -> Recommended:
    """Return the best settings overall, and the best settings for each budget of denoiser calls.

    A cell is one combination of settings that was measured.
    """
    return Recommended(
        metric=search.name,
        samples=search.samples,
        seed=search.seed,
        precision=search.precision,
        digest=search.digest,
        budgets={str(n): _choice(cell) for n, cell in budgets.items()},
        best=_choice(best),
    )


def _choice(cell: SweepCell) -> BestSettings:
    figure = cell.figure
    return BestSettings(cell.settings, cell.calls, figure.value, (figure.low, figure.high))
