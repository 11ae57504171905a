"""Heat maps: a value for each pair of row and column, in panels that share a colour scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

Values: TypeAlias = Mapping[tuple[str, int], float]  # numbers by row and column

ACROSS = 3  # the largest number of panels side by side


def draw(
    panels: Mapping[str, Values], path: Path, x: str, y: str, what: str, least: bool = True
) -> None:
    """Draw named heat maps in an image file, and frame the best value of all maps.

    Rows are in the order in which ``panels`` first names them, columns in rising order. Light
    colours mean better values: low values if ``least`` is set, else high values. ``x``, ``y`` and
    ``what`` are the labels of the axes and of the colour scale. The scale is logarithmic if the
    values are positive and the largest is more than ten times the smallest.
    """
    import matplotlib
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.figure import Figure

    every = [value for values in panels.values() for value in values.values()]
    low, high, best = min(every), max(every), (min if least else max)(every)
    norm: Any = (LogNorm if 0 < low < high / 10 else Normalize)(low, high)
    colours: Any = matplotlib.colormaps["viridis_r" if least else "viridis"]
    across, down = min(len(panels), ACROSS), -(-len(panels) // ACROSS)
    rows = max(len(_rows(values)) for values in panels.values())
    size = (1.8 + 3.6 * across, down * (1.3 + 0.5 * rows))
    figure = Figure(figsize=size, layout="constrained")
    for i, (name, values) in enumerate(panels.items(), 1):
        axes = figure.add_subplot(down, across, i)
        _panel(axes, values, best, norm, colours)
        axes.set_title(name, fontsize=10)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
    figure.colorbar(
        matplotlib.cm.ScalarMappable(norm, colours), ax=figure.axes, label=what, shrink=0.9
    )
    figure.savefig(path, dpi=110)


def _panel(axes: Any, values: Values, best: float, norm: Any, colours: Any) -> None:
    """Draw one heat map with its values as text, and frame each value that equals ``best``."""
    from matplotlib.patches import Rectangle

    rows, columns = _rows(values), sorted({column for _, column in values})
    table = [[values.get((row, column), math.nan) for column in columns] for row in rows]
    axes.imshow(table, norm=norm, cmap=colours, aspect="auto")
    for r, c in ((r, c) for r in range(len(rows)) for c in range(len(columns))):
        value = table[r][c]
        if not math.isnan(value):
            red, green, blue, _ = colours(norm(value))
            ink = "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else "white"
            axes.text(c, r, f"{value:.3g}", ha="center", va="center", color=ink, fontsize=9)
        if value == best:
            axes.add_patch(Rectangle((c - 0.5, r - 0.5), 1, 1, fill=False, color="red", lw=2))
    axes.set_xticks(range(len(columns)), [f"{column:,}" for column in columns])
    axes.set_yticks(range(len(rows)), rows)


def _rows(values: Values) -> Sequence[str]:
    return list(dict.fromkeys(row for row, _ in values))
