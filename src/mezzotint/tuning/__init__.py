"""Search for a run's best sampling settings. Every cell is measured only once.

RUN/sweep/cells.jsonl   a row for each measured cell RUN/sweep/sweep.md      the last sweep, with
heatmap.png and pareto.png RUN/recommended.json    its best settings, which become the run's
defaults (`pipeline.tuned`)
"""

from mezzotint.tuning.cells import SweepCell
from mezzotint.tuning.result import SweepResult
from mezzotint.tuning.sweeping import sweep

__all__ = ["SweepCell", "SweepResult", "sweep"]
