from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from mezzotint.drawing.curves import Panel, draw


def series(count: int) -> dict[str, list[tuple[float, float]]]:
    return {f"series {i}": [(5, 10 + i), (10, 5 + i), (20, 1 + i)] for i in range(count)}


@pytest.mark.parametrize("panels", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 10, 11, 25])
def test_each_panel_has_one_line_a_series(drawn, tmp_path: Path, count: int, panels: int) -> None:
    path = tmp_path / "curves.png"
    draw([Panel(series(count), f"x{i}", f"y{i}") for i in range(panels)], path, title="a title")
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.width > 300 * panels
    (figure,) = drawn
    assert len(figure.axes) == panels
    for i, axes in enumerate(figure.axes):
        assert (axes.get_xlabel(), axes.get_ylabel()) == (f"x{i}", f"y{i}")
        assert [line.get_label() for line in axes.lines] == list(series(count))
        for line, points in zip(axes.lines, series(count).values(), strict=True):
            assert list(zip(*line.get_data(), strict=True)) == points
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(series(count))


@pytest.mark.parametrize("count", [3, 10, 20])
def test_a_name_has_one_colour_of_its_own_in_all_panels(drawn, tmp_path, count: int) -> None:
    every = series(count)
    part = dict(reversed(list(every.items())[1:]))
    draw([Panel(every, "x", "y"), Panel(part, "x", "y")], tmp_path / "curves.png")
    (figure,) = drawn
    left, right = ({li.get_label(): li.get_color() for li in a.lines} for a in figure.axes)
    assert len(set(left.values())) == count
    assert all(left[name] == right[name] for name in part)


def test_a_name_of_the_second_panel_alone_is_in_the_legend(drawn, tmp_path: Path) -> None:
    draw(
        [Panel({"a": [(1, 1)]}, "x", "y"), Panel({"a": [(1, 1)], "b": [(2, 3)]}, "x", "y")],
        tmp_path / "curves.png",
    )
    (legend,) = drawn[0].legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]


@pytest.mark.parametrize("log_x", [False, True])
@pytest.mark.parametrize("log_y", [False, True])
def test_axes_are_logarithmic_where_asked(drawn, tmp_path, log_x: bool, log_y: bool) -> None:
    draw([Panel(series(2), "x", "y", log_x=log_x, log_y=log_y)], tmp_path / "curves.png")
    (axes,) = drawn[0].axes
    scales = ("log" if log_x else "linear", "log" if log_y else "linear")
    assert (axes.get_xscale(), axes.get_yscale()) == scales
    ticks = [label.get_text() for label in axes.get_xticklabels()]
    assert (ticks == ["5", "10", "20"]) == log_x  # the points themselves, not powers of ten


@pytest.mark.parametrize("low", [9.0, 0.0, -1.0])
def test_values_that_are_near_each_other_or_below_zero_have_a_plain_axis(drawn, tmp_path, low):
    draw([Panel({"a": [(1, low), (2, 10)]}, "x", "y", log_y=True)], tmp_path / "curves.png")
    assert drawn[0].axes[0].get_yscale() == "linear"


def test_dashed_names_are_dashed(drawn, tmp_path: Path) -> None:
    draw([Panel(series(3), "x", "y", dashed=["series 1"])], tmp_path / "curves.png")
    assert [line.get_linestyle() for line in drawn[0].axes[0].lines] == ["-", "--", "-"]
