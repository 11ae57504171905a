"""The page of a sweep: its table, a heat map and the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mezzotint.drawing import heatmap
from mezzotint.drawing.curves import Panel, Points, draw
from mezzotint.metrics import Figure
from mezzotint.storage.files import beside, write_text
from mezzotint.storage.machine import machine
from mezzotint.tuning.best import front
from mezzotint.tuning.cells import SweepCell
from mezzotint.tuning.search import Search

FRONT = "Pareto front"


def write(search: Search, cells: Sequence[SweepCell], budgets: Mapping[int, SweepCell]) -> Path:
    """Write sweep.md with its charts, and return the path of sweep.md."""
    _heat(search, cells)
    _curves(search, cells)
    figure = cells[0].figure
    lines = [
        f"# Sweep of {search.folder.name}",
        "",
        *_about(search, cells),
        "",
        f"![{figure.name} by settings and denoiser calls](heatmap.png)",
        f"![{figure.name} against denoiser calls](pareto.png)",
        "",
        f"| calls at most | best settings | {figure.name} |",
        "|---|---|---|",
        *(
            f"| {n} | {cell.name}, {cell.settings.steps} steps | {spread(cell.figure)} |"
            for n, cell in budgets.items()
        ),
        "",
        *_table(search, cells),
        "",
        f"Weights {search.digest[:12]}; {machine('torch')}.",
        "",
    ]
    path = search.file.with_name("sweep.md")
    write_text(path, "\n".join(lines))
    return path


def spread(figure: Figure | None) -> str:
    """Format a measured figure with its 95 % interval; "" for None."""
    return f"{figure.value:.4g} ({figure.low:.4g} to {figure.high:.4g})" if figure else ""


def _about(search: Search, cells: Sequence[SweepCell]) -> list[str]:
    """Return the lines that say how the combinations of settings were measured."""
    figure = cells[0].figure
    better = "more is better" if search.sign < 0 else "less is better"
    few = (
        f" With so few samples, {figure.name} is too high, by a similar amount for all settings."
        if search.metric == "fd"
        else ""
    )
    return [
        f"{figure.name} against {figure.against or 'nothing'}, with {figure.count:,} samples for "
        f"each combination of settings, seed {search.seed}, {search.precision} precision and "
        f"{cells[0].settings.spacing} spacing; {better}.{few} Intervals are 95 %. Calls are "
        "denoiser calls for an image; a guided call evaluates the network twice."
    ]


def _table(search: Search, cells: Sequence[SweepCell]) -> list[str]:
    """Return the table of all combinations of settings."""
    best = front(search, cells)
    return [
        f"| calls | settings | steps | {search.name} | class accuracy | on the Pareto front |",
        "|---|---|---|---|---|---|",
        *(
            f"| {c.calls} | {c.name} | {c.settings.steps} | {spread(c.figure)} | "
            f"{spread(c.accuracy)} | {'yes' if c in best else ''} |"
            for c in cells
        ),
    ]


def _heat(search: Search, cells: Sequence[SweepCell]) -> None:
    """Draw the heat map: guidance scales against calls, with a panel for each method.

    If there is only one guidance scale, it shows methods against calls instead.
    """
    scales = {cell.settings.guidance for cell in cells}
    panels: dict[str, dict[tuple[str, int], float]] = {}
    for cell in sorted(cells, key=lambda cell: cell.settings.guidance):
        here, scale = cell.method, f"{cell.settings.guidance:g}"
        panel, row = (here, scale) if len(scales) > 1 else ("", here)
        panels.setdefault(panel, {})[row, cell.calls] = cell.figure.value
    rows = "guidance scale" if len(scales) > 1 else ""
    with beside(search.file.with_name("heatmap.png")) as path:
        heatmap.draw(panels, path, "denoiser calls", rows, cells[0].figure.name, search.sign > 0)


def _curves(search: Search, cells: Sequence[SweepCell]) -> None:
    """Draw the best values of each method against denoiser calls, and the Pareto front."""
    series: dict[str, Points] = {}
    for here in dict.fromkeys(cell.method for cell in cells):
        best: dict[int, float] = {}
        for cell in (c for c in cells if c.method == here):
            value, among = cell.figure.value, (min if search.sign > 0 else max)
            best[cell.calls] = among(value, best.get(cell.calls, value))
        series[here] = list(best.items())
    series[FRONT] = [(cell.calls, cell.figure.value) for cell in front(search, cells)]
    y = f"{cells[0].figure.name}, at its best guidance"
    panel = Panel(series, "denoiser calls", y, log_x=True, log_y=True, dashed=[FRONT])
    with beside(search.file.with_name("pareto.png")) as path:
        draw([panel], path)
