"""The result of a sweep, and its printed form."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mezzotint.tuning.cells import SweepCell

WIDTHS = (">5", "<24", ">5", ">8", "<24", "<20")  # widths of the columns


@dataclass(frozen=True)
class SweepResult:
    """The cells of a sweep in ascending order of denoiser calls, and the best cells.

    It prints as a table. ``rows()`` is for plots and data frames.

    Attributes:
        cells: The cells, each with settings and figures.
        best: The best cell. Its settings are now the run's defaults.
        budgets: The best cell within each budget of denoiser calls.
        page: The sweep's page, RUN/sweep/sweep.md.
        recommended: The file of the best settings, RUN/recommended.json.
    """

    cells: tuple[SweepCell, ...]
    best: SweepCell
    budgets: dict[int, SweepCell]
    page: Path
    recommended: Path

    def rows(self) -> list[dict[str, Any]]:
        """Return a dictionary for each cell (a combination of settings), with its measured value.

        The keys are sampler, steps, calls, guidance, interval (of the guidance), metric, value, low
        and high (the ends of the value's 95 % interval), samples and accuracy.
        """
        return [cell.row() for cell in self.cells]

    def __repr__(self) -> str:
        table = [head(self.best.figure.name), *map(line, self.cells)]
        return "\n".join([*table, *self.summary()])

    def summary(self) -> list[str]:
        """Return a line with the best settings for each budget of denoiser calls."""
        return [
            f"best within {calls:>4} calls: {cell.name}, {cell.settings.steps} steps: "
            f"{_value(cell)}"
            for calls, cell in self.budgets.items()
        ]


def head(metric: str) -> str:
    """Return the first line of the printed table: the names of its columns."""
    return _row("calls", "sampler", "steps", "guidance", metric, "class accuracy")


def line(cell: SweepCell) -> str:
    """Return the row of the printed table for one combination of settings."""
    right, settings = cell.accuracy, cell.settings
    accuracy = f"{right.value:.3f} [{right.low:.3f}, {right.high:.3f}]" if right else ""
    scale = f"{settings.guidance:g}"
    return _row(cell.calls, cell.method, settings.steps, scale, _value(cell), accuracy)


def _value(cell: SweepCell) -> str:
    figure = cell.figure
    return f"{figure.value:.4g} [{figure.low:.4g}, {figure.high:.4g}]"


def _row(*cells: object) -> str:
    return "  ".join(f"{cell:{width}}" for cell, width in zip(cells, WIDTHS, strict=True)).rstrip()
