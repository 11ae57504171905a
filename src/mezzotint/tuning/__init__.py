"""A model's settings swept: every cell measured once, and the best of them kept.

RUN/sweep/cells.jsonl   a row each cell that was ever measured
RUN/sweep/sweep.md      the last sweep, with heatmap.png and pareto.png
RUN/recommended.json    its best settings, the run's defaults from then on (`recommended`)
"""

from mezzotint.tuning.best import front, pareto, recommend
from mezzotint.tuning.cells import Cell, Sweep, known, measure, seconds, settings
from mezzotint.tuning.page import write

__all__ = [
    "Cell",
    "Sweep",
    "front",
    "known",
    "measure",
    "pareto",
    "recommend",
    "seconds",
    "settings",
    "write",
]
