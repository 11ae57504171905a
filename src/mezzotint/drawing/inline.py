"""Images and charts as text for an HTML page."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from typing import TYPE_CHECKING

from PIL import Image
from torch import Tensor

from mezzotint.drawing.curves import Panel, plot
from mezzotint.drawing.figures import to_pil
from mezzotint.drawing.page import InlineImage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# These colours differ visibly from each other, and from a white or black ground.
COLOURS = ("#3b82c4", "#d0702a", "#3a9a5c", "#b958a0", "#8a72d6", "#94821e", "#229a9a", "#d65454")
INK, CURRENT = "#010203", "currentColor"  # matplotlib draws in INK, which CURRENT then replaces
MOST, LEAST = 160, 64  # pixels: images above 160 are shrunk, images below 64 are enlarged
WIDEST = 1400  # pixels of a sheet of images
GAP = 3
DENSE = 20  # a line with more points than this has no markers


def png(image: Image.Image) -> str:
    """Return an image as a data: URI, shrunk to 1400 pixels if the image is wider."""
    if image.width > WIDEST:
        size = WIDEST, round(image.height * WIDEST / image.width)
        image = image.resize(size, Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "PNG")  # optimize=True takes ten times as long, for 1 % less
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def tiled(images: Tensor, columns: int) -> Image.Image:
    """Arrange images uint8 (N, C, H, W) in ``columns`` columns, with transparent gaps.

    If the longer side of the images is below 64 pixels, the images are enlarged by a whole number,
    to at most 96 pixels. If the longer side is above 160 pixels, the images are shrunk to 160.
    """
    height, width = images.shape[2:]
    side = max(height, width)
    scale = 96 // side if side < LEAST else min(1.0, MOST / side)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    how = Image.Resampling.BOX if scale >= 1 else Image.Resampling.LANCZOS
    step_x, step_y = size[0] + GAP, size[1] + GAP
    columns, rows = min(columns, len(images)), -(-len(images) // columns)
    sheet = Image.new("RGBA", (columns * step_x - GAP, rows * step_y - GAP))
    for i, image in enumerate(images):
        place = i % columns * step_x, i // columns * step_y
        sheet.paste(to_pil(image).resize(size, how), place)
    return sheet


def strip(images: Tensor, alt: str, columns: int = 1) -> InlineImage:
    """Arrange images uint8 (N, C, H, W) in ``columns`` columns, as one InlineImage."""
    across = min(columns, len(images))
    return InlineImage(png(tiled(images, across)), alt, across=across)


def colours(names: Sequence[str]) -> dict[str, str]:
    """Return a colour for each name; the colours repeat after eight names."""
    return dict(zip(names, islice(cycle(COLOURS), len(names)), strict=True))


def chart(panel: Panel, colour: Mapping[str, str]) -> str:
    """Return a line chart as an <svg>; ``colour`` maps the name of each series to its colour."""
    from matplotlib.ticker import EngFormatter, FuncFormatter

    figure, axes = _blank()
    plot(axes, panel, colour)
    for line, points in zip(axes.lines, panel.series.values(), strict=True):
        if len(points) >= DENSE:
            line.set_marker("")
    if not panel.log_x:  # the ticks are at the values themselves, as in `curves.draw`
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    return _svg(figure)


def spreads(
    names: Sequence[str], series: Mapping[str, Mapping[str, Sequence[float]]], grey_levels: bool
) -> str:
    """Return a bar chart of means with standard deviations, as an <svg>.

    ``names`` are the labels along the horizontal axis. ``series`` maps the name of each series to
    its "mean" and "std", each with one number for each label. If ``grey_levels`` is set, the
    vertical axis runs from 0 to 255.
    """
    figure, axes = _blank()
    width = 0.8 / len(series)
    for k, (of, colour) in enumerate(colours(list(series)).items()):
        at = [i + (k - (len(series) - 1) / 2) * width for i in range(len(names))]
        axes.bar(at, series[of]["mean"], width * 0.9, color=colour)
        axes.errorbar(at, series[of]["mean"], series[of]["std"], fmt="none", ecolor=INK, capsize=3)
    axes.set_xticks(range(len(names)), names)
    if grey_levels:
        axes.set_ylim(0, 255)
    axes.set_ylabel("grey level" if grey_levels else "value")
    axes.spines[["top", "right"]].set_visible(False)
    return _svg(figure)


def _blank() -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4, 2.7), layout="constrained")
    return figure, figure.add_subplot()


def _svg(figure: Figure) -> str:
    """Render a figure as an <svg> that takes the text colour of the page."""
    import matplotlib

    for axes in figure.axes:
        axes.patch.set_visible(False)
        axes.tick_params(colors=INK, which="both", labelcolor=INK)
        for text in (axes.xaxis.label, axes.yaxis.label):
            text.set_color(INK)
        for spine in axes.spines.values():
            spine.set_edgecolor(INK)
        for line in (*axes.get_xgridlines(), *axes.get_ygridlines()):
            line.set_color(INK)
            line.set_alpha(0.15)
    file = io.StringIO()
    none = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "mezzotint"}):
        figure.savefig(file, format="svg", transparent=True, metadata=none)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, CURRENT)
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>|<!--.*?-->", "", svg, flags=re.DOTALL)
    head, body = svg.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    assert box
    return f'<svg {box[0]} aria-hidden="true">{body}'.strip()
