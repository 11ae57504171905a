from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.colors import LogNorm
from PIL import Image

from mezzotint.drawing.heatmap import draw

ONE = {("1", 5): 4.0, ("1", 10): 3.0, ("2", 10): 1.0}


@pytest.mark.parametrize("least", [True, False])
def test_the_cells_stand_where_their_values_belong(drawn, tmp_path: Path, least: bool) -> None:
    path = tmp_path / "heat.png"
    draw({"a": ONE, "b": {("1", 5): 2.0}}, path, "calls", "scale", "fd", least)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
    a, b, bar = drawn[0].axes
    assert [a.get_title(), b.get_title(), bar.get_ylabel()] == ["a", "b", "fd"]
    assert [t.get_text() for t in a.get_xticklabels()] == ["5", "10"]
    assert [t.get_text() for t in a.get_yticklabels()] == ["1", "2"]
    said = {t.get_text(): t.get_position() for t in a.texts}
    assert said == {"4": (0, 0), "3": (1, 0), "1": (1, 1)}  # none where nothing was measured
    (frame,) = a.patches
    assert frame.get_xy() == ((0.5, 0.5) if least else (-0.5, -0.5))
    assert not b.patches
    (image,), (other,) = a.images, b.images
    assert image.norm is other.norm
    light = [sum(image.cmap(image.norm(v))[:3]) for v in (1.0, 4.0)]
    assert (light[0] > light[1]) == least


@pytest.mark.parametrize(("values", "log"), [((1, 20), True), ((1, 5), False), ((-1, 20), False)])
def test_the_scale_is_logarithmic_over_more_than_ten_times(drawn, tmp_path, values, log) -> None:
    draw({"": {("r", i): v for i, v in enumerate(values)}}, tmp_path / "heat.png", "x", "y", "z")
    assert isinstance(drawn[0].axes[0].images[0].norm, LogNorm) == log


@pytest.mark.parametrize("count", [1, 3, 4, 7])
def test_any_number_of_panels_and_one_value_alone(drawn, tmp_path: Path, count: int) -> None:
    draw({f"{i}": {("r", 1): 2.0} for i in range(count)}, tmp_path / "heat.png", "x", "y", "z")
    assert len(drawn[0].axes) == count + 1
