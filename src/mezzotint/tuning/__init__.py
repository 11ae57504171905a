"""The search for a run's best sampling settings: every cell is measured once, the best are kept.

RUN/sweep/cells.jsonl   a row for each cell that was ever measured
RUN/sweep/sweep.md      the last sweep, with heatmap.png and pareto.png
RUN/recommended.json    its best settings, the run's defaults from then on (`pipeline.tuned`)
"""

from mezzotint.tuning.cells import SweepCell
from mezzotint.tuning.result import SweepResult
from mezzotint.tuning.sweeping import sweep

__all__ = ["SweepCell", "SweepResult", "sweep"]
