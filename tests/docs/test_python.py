"""The examples of docs/python.md and of the README, each run in an empty folder with few images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from mezzotint.metrics.networks import NETWORKS
from mezzotint.paper import plan

from examples import EXAMPLE

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "python.md"
OTHERS = (
    ROOT / "README.md",
    ROOT / "docs" / "export.md",
    ROOT / "docs" / "index.md",
    *sorted((ROOT / "src").rglob("README.md")),
)
SMALL = {  # what stands in the page, and what the test runs in its place
    "images=200_000": "images=32, batch=16, channels=(8, 16), groups=4, attention=(), steps=2",
    "images=80_000": "images=32, batch=16, steps=2",
    "samples=1_000": "samples=12",
    'only=("A", "B", "C", "D")': 'only="D"',  # tests/cli/test_reproduce.py carries out all four
    "[:500]": "[:12]",
    "sample(500": "sample(12",
    'sample(4, labels="ship"': 'sample(2, labels="ship"',
    "trucks[0], 8": "trucks[0], 3",
    "steps=5": "steps=2",
    "guidance=[0, 1, 2, 4]": "guidance=[0, 4]",
    "sample(16": "sample(2",
    "(2_000": "(64",
    "arange(2_000)": "arange(64)",
}
LONGEST = 15  # lines of an example


@pytest.fixture
def place(small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with photographs of two classes; the examples do not need Inception's weights."""
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "photographs" / name).mkdir(parents=True)
        for i in range(8):
            pixels = draw.integers(0, 256, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photographs" / name / f"{i}.png")

    def inception(device: torch.device) -> object:
        return replace(NETWORKS["glyphs"](device), name="inception")

    monkeypatch.setitem(NETWORKS, "inception", inception)
    rows = plan._settings  # tests/paper samples all of them
    monkeypatch.setattr(plan, "_settings", lambda letter: rows(letter)[-2:])
    yield tmp_path
    plt.close("all")


def examples(page: Path) -> list[str]:
    return EXAMPLE.findall(page.read_text())


def run(example: str) -> dict[str, object]:
    for shown, little in SMALL.items():
        example = example.replace(shown, little)
    names: dict[str, object] = {"__name__": "example"}
    exec(compile(example, "example", "exec"), names)
    return names


@pytest.mark.filterwarnings("ignore:.*images are fewer")
@pytest.mark.parametrize("number", range(len(examples(PAGE))))
def test_an_example_of_the_page_runs(number: int, place: Path) -> None:
    run(examples(PAGE)[number])


@pytest.mark.parametrize("page", OTHERS, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_examples_of_another_page_run(page: Path, place: Path) -> None:
    assert examples(page)
    for example in examples(page):
        run(example)


def test_the_examples_are_short() -> None:
    for example in examples(PAGE):
        assert len([line for line in example.splitlines() if line.strip()]) <= LONGEST


def test_every_section_of_the_page_has_an_example() -> None:
    _, *sections = PAGE.read_text().split("\n## ")
    assert len(sections) >= 8
    assert all(EXAMPLE.search(section) for section in sections)
