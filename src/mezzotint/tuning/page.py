"""What a sweep leaves behind: a page with its table, a heat map and the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence

from mezzotint.config.sampling import SampleConfig
from mezzotint.drawing import heatmap
from mezzotint.drawing.curves import Panel, Points, draw
from mezzotint.metrics import Figure
from mezzotint.pipeline import tuned
from mezzotint.pipeline.tuned import Recommended
from mezzotint.storage.machine import machine
from mezzotint.tuning.best import front
from mezzotint.tuning.cells import Cell, Sweep

FRONT = "Pareto front"


def write(sweep: Sweep, cells: Sequence[Cell], found: Recommended) -> None:
    """Write sweep.md with its figures, and the recommendation beside the run's config.json."""
    folder = sweep.file.parent
    _heat(sweep, cells)
    _curves(sweep, cells)
    figure, best = cells[0].figure, front(sweep, cells)
    more = "more is better" if sweep.sign < 0 else "less is better"
    few = "; of few pictures it is too high, by as much for all" if sweep.metric == "fd" else ""
    lines = [
        f"# Sweep of {sweep.folder.name}",
        "",
        f"{figure.name} against {figure.against or 'nothing'}, {figure.count:,} pictures a cell, "
        f"seed {sweep.seed}, {sweep.precision}, {cells[0].how.spacing} grids: {more}{few}. "
        "Intervals are 95 %. Calls are of the denoiser, a picture; "
        "a guided one takes the network twice.",
        "",
        f"![{figure.name} by settings and denoiser calls](heatmap.png)",
        f"![{figure.name} against denoiser calls](pareto.png)",
        "",
        f"| calls at most | best settings | {figure.name} |",
        "|---|---|---|",
        *(
            f"| {n} | {name(c.settings)}, {c.settings.steps} steps | "
            f"{c.value:.4g} ({c.interval[0]:.4g} to {c.interval[1]:.4g}) |"
            for n, c in found.budgets.items()
        ),
        "",
        f"| calls | settings | steps | {figure.name} | class accuracy | on the front |",
        "|---|---|---|---|---|---|",
        *(
            f"| {c.calls} | {name(c.how)} | {c.how.steps} | {spread(c.figure)} | "
            f"{spread(c.accuracy)} | {'yes' if c in best else ''} |"
            for c in cells
        ),
        "",
        f"Weights {sweep.digest[:12]}; {machine('torch')}.",
        "",
    ]
    (folder / "sweep.md").write_text("\n".join(lines))
    tuned.write(sweep.folder, found)


def name(how: SampleConfig) -> str:
    """Settings in words, but for the steps."""
    return f"{where(how)}, guidance {how.guidance:g}"


def where(how: SampleConfig) -> str:
    """The sampler, and the interval that is guided on."""
    return how.sampler + (" on {:g} to {:g}".format(*how.interval) if how.interval else "")


def spread(figure: Figure | None) -> str:
    """A figure with its interval."""
    return f"{figure.value:.4g} ({figure.low:.4g} to {figure.high:.4g})" if figure else ""


def _heat(sweep: Sweep, cells: Sequence[Cell]) -> None:
    """Guidance against calls, a panel each sampler and interval; unguided, the samplers."""
    scales = {cell.how.guidance for cell in cells}
    panels: dict[str, dict[tuple[str, int], float]] = {}
    for cell in sorted(cells, key=lambda cell: cell.how.guidance):
        here, scale = where(cell.how), f"{cell.how.guidance:g}"
        panel, row = (here, scale) if len(scales) > 1 else ("", here)
        panels.setdefault(panel, {})[row, cell.calls] = cell.figure.value
    rows = "guidance scale" if len(scales) > 1 else ""
    path = sweep.file.with_name("heatmap.png")
    heatmap.draw(panels, path, "denoiser calls", rows, cells[0].figure.name, sweep.sign > 0)


def _curves(sweep: Sweep, cells: Sequence[Cell]) -> None:
    """The best of each sampler and interval against calls, and the front of all."""
    series: dict[str, Points] = {}
    for here in dict.fromkeys(where(cell.how) for cell in cells):
        best: dict[int, float] = {}
        for cell in (c for c in cells if where(c.how) == here):
            value, among = cell.figure.value, (min if sweep.sign > 0 else max)
            best[cell.calls] = among(value, best.get(cell.calls, value))
        series[here] = list(best.items())
    series[FRONT] = [(cell.calls, cell.figure.value) for cell in front(sweep, cells)]
    y = f"{cells[0].figure.name}, at its best guidance"
    panel = Panel(series, "denoiser calls", y, log_x=True, log_y=True, dashed=[FRONT])
    draw([panel], sweep.file.with_name("pareto.png"))
