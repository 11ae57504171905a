"""How findings are listed and printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from mezzotint.doctor import Finding, Findings, Title

WRONG = Finding("wrong", "plateau", "it is 1", "a cause", "a fix")
DOUBTFUL = Finding("doubtful", "colour drift", "it is 2", "another", "do this")
WELL = Finding("well", "EMA lagging", "it is 3")


def test_the_page_names_every_diagnosis() -> None:
    page = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text()
    assert re.findall(r"^\| \*\*(.*?)\*\* \|", page, re.MULTILINE) == list(get_args(Title))


def test_findings_are_a_list_that_prints_as_a_summary() -> None:
    found = Findings([WELL, WRONG, DOUBTFUL])
    assert list(found) == [WELL, WRONG, DOUBTFUL]
    assert (found.wrong, found.doubtful, found.well) == ([WRONG], [DOUBTFUL], [WELL])
    assert repr(found) == (
        "wrong: plateau\n  measured: it is 1\n  cause: a cause\n  fix: a fix\n"
        "doubtful: colour drift\n  measured: it is 2\n  cause: another\n  fix: do this\n"
        "looked for and not found: EMA lagging\n1 wrong, 1 doubtful"
    )
    assert repr(Findings([WELL])).endswith("\nnothing wrong, nothing doubtful")
    assert str(WELL) == "well: EMA lagging\n  measured: it is 3"
