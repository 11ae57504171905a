"""The history of a training: the curves of its log, and its grids of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from mezzotint.config.experiment import Autoencoder
from mezzotint.drawing.curves import Panel
from mezzotint.drawing.inline import chart, colours, png
from mezzotint.drawing.page import Chart, InlineImage, Section
from mezzotint.pages.runs import Run

CURVES = "Curves"  # the section's title
GRIDS = 6
STEEP = 20  # an axis is logarithmic if the largest value is this many times the smallest
AXES = {  # titles for columns of the log; the other columns keep their names
    "loss": "loss",
    "grad_norm": "gradient norm",
    "images_per_second": "images per second",
    "lr": "learning rate",
}


def curves(runs: Sequence[Run]) -> Section | None:
    """Return a section that charts each column of the logs against the number of images seen.

    Figures of different numbers of images have charts of their own, because they cannot be
    compared. Returns None if no log has rows.
    """
    columns: dict[str, dict[str, list[tuple[float, float]]]] = {name: {} for name in AXES}
    for run in runs:
        for row in run.log:
            values = {k: v for k, v in row.items() if k not in ("step", "images")}
            if figure := values.pop("figure", None):
                values[f"{figure['name']} of {figure['samples']:,} images"] = figure["value"]
            for name, value in values.items():
                if isinstance(value, int | float):
                    points = columns.setdefault(name, {}).setdefault(run.name, [])
                    points.append((row["images"], value))
    colour = colours([run.name for run in runs])
    charts = [
        _chart(AXES.get(name, name.replace("_", " ")), s, colour)
        for name, s in columns.items()
        if s
    ]
    legend = list(colour.items()) if len(runs) > 1 else ()
    text = "Each chart shows a column of the log against the number of images seen."
    return Section(CURVES, text, legend, charts) if charts else None


def grids(run: Run) -> Section | None:
    """Return a section with up to six image grids, evenly spaced over the training.

    Returns None if there are no grids.
    """
    paths = sorted(p for p in (run.folder / "samples").glob("*.png") if _is_grid(p))
    count = min(GRIDS, len(paths))
    images = []
    bad = []
    for path in (paths[round((i + 1) * len(paths) / count) - 1] for i in range(count)):
        after = f"{int(path.stem):,} images"
        try:
            with Image.open(path, formats=["PNG"]) as image:
                images.append(InlineImage(png(image), f"Grid of images after {after}", after))
        except (OSError, SyntaxError, ValueError):
            bad.append(path.name)
    text = "Samples of the averaged weights, always from the same noise."
    if isinstance(run.config, Autoencoder):
        text = "Originals, each above its reconstruction by the averaged weights."
    if bad:
        text += f" Not shown, because it cannot be read: {', '.join(bad)}."
    return Section("During training", text, images=images) if images or bad else None


def _is_grid(path: Path) -> bool:
    return path.stem.isdecimal() and path.is_file()


def _chart(
    name: str, series: Mapping[str, list[tuple[float, float]]], colour: Mapping[str, str]
) -> Chart:
    values = [value for points in series.values() for _, value in points]
    log = name != AXES["lr"] and 0 < min(values) < max(values) / STEEP
    ends = [
        f"{run} from {points[0][1]:.4g} to {points[-1][1]:.4g} at {points[-1][0]:,} images"
        for run, points in series.items()
    ]
    svg = chart(Panel(series, "images seen", name, log_y=log), colour)
    return Chart(svg, f"{name} against images seen: {'; '.join(ends)}")
