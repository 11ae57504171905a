"""Search for a run's best sampling settings.

A cell of a sweep is one combination of settings. Every cell is measured only once.

RUN/sweep/cells.jsonl       a row for each measured cell
RUN/sweep/sweep.md          the page of the last sweep, with heatmap.png and pareto.png
RUN/recommended.json        the best settings, which are the run's new defaults (`pipeline.tuned`)
"""

from mezzotint.tuning.cells import SweepCell
from mezzotint.tuning.result import SweepResult
from mezzotint.tuning.sweeping import sweep

__all__ = ["SweepCell", "SweepResult", "sweep"]
