"""The documents say what is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import mezzotint
from mezzotint.nets import UNet
from mezzotint.recipes import RECIPES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_readmes_example_runs() -> None:
    examples = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    for example in examples:
        if "mz.load(" not in example:  # which would need a trained run
            names: dict[str, object] = {}
            exec(example, names)
            assert names["x"].shape == (4, 3, 32, 32)
            assert names["x"].std() == pytest.approx(1, abs=0.05)


def test_the_readme_names_every_recipe_with_its_size() -> None:
    for name, recipe in RECIPES.items():
        net = UNet(recipe.net, 3, 10 if recipe.data.conditional else 0)
        millions = sum(p.numel() for p in net.parameters()) / 1e6
        assert f"| `{name}` | {millions:.1f}M" in README


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_links_lead_somewhere(path: Path) -> None:
    prose = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)\)", prose):
        if "://" not in target:
            assert (path.parent / target).exists(), target


def test_the_changelog_has_this_version() -> None:
    assert f"## {mezzotint.__version__}" in (ROOT / "CHANGELOG.md").read_text()
