"""Line charts: one pair of axes for each panel, one line for each series.

This package imports matplotlib inside the functions that draw, so that other code does not wait for
it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

Points: TypeAlias = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """A chart: series of points by name, and the labels of its axes.

    ``dashed`` are the names of the series that have dashed lines. ``log_y`` makes the vertical axis
    logarithmic if all values are above 0 and the largest is at least three times the smallest. A
    shorter logarithmic axis would have too few ticks.
    """

    series: Mapping[str, Points]
    x: str
    y: str
    log_x: bool = False
    log_y: bool = False
    dashed: Sequence[str] = ()


def plot(axes: Any, panel: Panel, colour: Mapping[str, Any]) -> None:
    """Draw a panel on a pair of axes; ``colour`` maps the name of each series to its colour."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for name, points in panel.series.items():
        axes.plot(
            *zip(*points, strict=True),
            marker="o",
            markersize=3,
            linewidth=1.3,
            linestyle="--" if name in panel.dashed else "-",
            color=colour[name],
            label=name,
        )
    axes.set_xlabel(panel.x)
    axes.set_ylabel(panel.y)
    if panel.log_x:
        axes.set_xscale("log")
        ticks = sorted({x for points in panel.series.values() for x, _ in points})
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    values = [y for points in panel.series.values() for _, y in points]
    if panel.log_y and 0 < 3 * min(values) <= max(values):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def draw(panels: Sequence[Panel], path: Path, title: str = "") -> None:
    """Write panels side by side to an image file; series of the same name have the same colour."""
    import matplotlib
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for panel in panels for name in panel.series))
    colours: Any = matplotlib.colormaps["tab20" if len(names) > 10 else "tab10"]
    figure = Figure(figsize=(5.2 * len(panels), 4.4), layout="constrained")
    for i, panel in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), i + 1)
        plot(axes, panel, {name: colours(k) for k, name in enumerate(names)})
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside right center", frameon=False)
    if title:
        figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=110)
