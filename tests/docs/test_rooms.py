"""docs/rooms.md agrees with the imports, and docs/rooms.py reads them correctly."""

from __future__ import annotations

import runpy
from pathlib import Path
from textwrap import dedent

import pytest

HOUSE = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "rooms.py"))
Room = HOUSE["Room"]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Four rooms: a module imports two packages, one of which imports another module."""
    sources = {
        "__init__.py": "from mezzotint.top import main",
        "top.py": '''
            """The top. It has lines."""
            import os
            import mezzotint.middle.a
            def main():
                from mezzotint import low
            ''',
        "middle/__init__.py": '"""The middle.\n\nAnd more."""\n',
        "middle/a.py": "from mezzotint.middle import b\nfrom mezzotint.errors import Error",
        "middle/b.py": "import numpy\n",
        "low/__init__.py": "",
        "errors.py": '"""Errors."""',
    }
    for name, text in sources.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(dedent(text))
    return tmp_path


def test_rooms_are_read_with_their_imports(package: Path) -> None:
    assert HOUSE["rooms"](package) == {
        "errors": Room("Errors.", 1, ()),
        "low": Room("", 0, ()),
        "middle": Room("The middle.", 6, ("errors",)),
        "top": Room("The top. It has lines.", 6, ("low", "middle")),
    }


def test_floors_and_totals_are_those_of_the_longest_way_down(package: Path) -> None:
    house = HOUSE["rooms"](package)
    assert HOUSE["floors"](house) == {"errors": 1, "low": 1, "middle": 2, "top": 3}
    wanted = {"rooms": 4, "floors": 3, "arrows": 3, "lines": 13}
    assert HOUSE["totals"](house) == wanted
    layer = {"errors": 1, "middle": 1, "low": 0, "top": 2}
    assert HOUSE["upward"](house, layer) == [("middle", "errors")]


def test_a_circle_and_a_relative_import_are_named(package: Path) -> None:
    (package / "errors.py").write_text("from mezzotint import top")
    with pytest.raises(SystemExit, match="circle: errors -> top -> middle -> errors"):
        HOUSE["floors"](HOUSE["rooms"](package))
    (package / "errors.py").write_text("from . import top")
    with pytest.raises(SystemExit, match=r"errors.py:1 is a relative import: write it from mezz"):
        HOUSE["rooms"](package)


def test_the_page_is_what_the_imports_say() -> None:
    HOUSE["main"](["--check"])


def test_a_page_of_other_rooms_is_told_apart(tmp_path: Path) -> None:
    docs = Path(__file__).parents[2] / "docs"
    page = (docs / "rooms.md").read_text()
    (tmp_path / "rooms-before.json").write_bytes((docs / "rooms-before.json").read_bytes())
    (tmp_path / "rooms.md").write_text(page.replace(" errors, strict |", " errors |"))
    with pytest.raises(SystemExit, match=r"run python docs/rooms\.py"):
        HOUSE["main"](["--check"], tmp_path)
