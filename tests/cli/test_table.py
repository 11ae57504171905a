"""Figures printed as a table."""

from __future__ import annotations

from mezzotint.cli.table import table
from mezzotint.metrics import Figure


def test_a_network_and_what_is_compared_stand_above_its_figures() -> None:
    score = Figure("cs-glyphs", 9.5, 9.25, 9.75, 1200, "glyphs", "to 32x32", "", "a note")
    distance = Figure("fd-glyphs", 3.25, 3.0, 3.5, 1200, "glyphs", "to 32x32", "60 of glyphs")
    lines = table([score, distance, Figure("psnr", 30.0, 29.0, 31.0, 50, note="dB")]).splitlines()
    head = "features of the glyphs network; resize: to 32x32"
    assert lines[0] == f"{head}; compared with 60 of glyphs; [95 % interval]"
    assert lines[1].split() == [
        "cs-glyphs",
        "9.5",
        "[9.25,",
        "9.75]",
        "N",
        "=",
        "1,200",
        "a",
        "note",
    ]
    assert lines[3] == "image by image; [95 % interval]"
    assert table([score]).startswith(f"{head}; [95 % interval]\n")
