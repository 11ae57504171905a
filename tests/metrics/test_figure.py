"""A figure behaves like its value, and files of older versions can be read."""

from __future__ import annotations

import json

import pytest

from mezzotint.metrics import Figure

FIGURE = Figure("fd-glyphs", 3.25, 3.0, 3.5, 100, "glyphs", "none", "60 of glyphs", "a note")


def test_a_figure_goes_where_a_number_does() -> None:
    assert float(FIGURE) == 3.25
    assert f"{FIGURE:.1f}" == "3.2"
    assert 3 < FIGURE <= 3.25
    assert not FIGURE > 3.25
    assert sorted([FIGURE, Figure("fd-glyphs", 1.0, 0, 2, 100)])[0].value == 1.0


def test_a_figure_says_all_that_belongs_to_it() -> None:
    said = "fd-glyphs          3.2500  [3.0000, 3.5000]  100 images against 60 of glyphs; "
    assert (
        str(FIGURE) == f"{FIGURE}" == f"{said}features of the glyphs network; resize: none; a note"
    )


def test_files_hold_the_count_under_the_name_that_they_always_did() -> None:
    row = json.loads(json.dumps(FIGURE.row))
    assert row == {
        "name": "fd-glyphs",
        "value": 3.25,
        "low": 3.0,
        "high": 3.5,
        "samples": 100,
        "network": "glyphs",
        "resize": "none",
        "against": "60 of glyphs",
        "note": "a note",
    }
    assert Figure.read(row) == FIGURE
    assert Figure.read({"count" if k == "samples" else k: v for k, v in row.items()}) == FIGURE


@pytest.mark.parametrize("row", [{}, {"name": "fd"}, {**FIGURE.row, "mood": "good"}])
def test_rows_of_another_kind_are_no_figures(row: dict) -> None:
    with pytest.raises((KeyError, TypeError)):
        Figure.read(row)
