"""The documentation site: its reference, its navigation, and what docs/*.py add to mkdocs."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from mezzotint import api

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
links = runpy.run_path(str(DOCS / "links.py"))
notebooks = runpy.run_path(str(DOCS / "notebooks.py"))
HOME = "https://example.org/me/mezzotint"


def test_the_reference_has_every_public_name_once() -> None:
    pages = "\n".join(path.read_text() for path in (DOCS / "reference").glob("*.md"))
    names = re.findall(r"^::: mezzotint\.api\.(\w+)$", pages, re.MULTILINE)
    assert sorted(names) == sorted(api.__all__)


def test_the_navigation_has_every_page() -> None:
    nav = (ROOT / "mkdocs.yml").read_text().split("\nnav:")[1]
    pages = {*re.findall(r"[\w/-]+\.md", nav)}
    listed = {"results", "decisions"}  # by docs/hooks.py
    there = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}
    assert {page for page in there if Path(page).parts[0] not in listed} == pages - {
        "tutorials/notebook.md"
    }
    assert all(f": {folder}" in nav for folder in listed)


def test_the_start_page_leads_to_every_tutorial() -> None:
    start = (DOCS / "index.md").read_text()
    for page in (*DOCS.glob("tutorials/*.md"), DOCS / "tutorials" / "notebook.md"):
        assert f"(tutorials/{page.name})" in start


@pytest.mark.parametrize(
    ("link", "unlinked", "absolute"),
    [
        ("[a](../README.md)", "a", f"[a]({HOME}/blob/main/README.md)"),
        ("[a](../README.md#b)", "a", f"[a]({HOME}/blob/main/README.md#b)"),
        ("[a](maths.md#b)", "[a](maths.md#b)", f"[a]({HOME}/blob/main/docs/maths.md#b)"),
        ("![a](rooms.svg)", "![a](rooms.svg)", f"![a]({HOME}/raw/main/docs/rooms.svg)"),
        ("[a](https://b.org/c)", "[a](https://b.org/c)", "[a](https://b.org/c)"),
        ("[a](#b)", "[a](#b)", "[a](#b)"),
        ("![a](data:image/png;base64,iVBO)",) * 3,
        ('SAMPLERS["ddim"](x)', 'SAMPLERS["ddim"](x)', 'SAMPLERS["ddim"](x)'),
    ],
)
def test_links_to_files_that_are_not_beside_a_page(link: str, unlinked: str, absolute: str) -> None:
    page = DOCS / "python.md"
    assert links["unlinked"](link, page, keep=DOCS) == unlinked
    assert links["absolute"](link, page, HOME) == absolute
    kept = link if unlinked == link else absolute
    assert links["absolute"](link, page, HOME, keep=DOCS) == kept


def test_an_image_that_is_a_link_is_led_there_with_it() -> None:
    link = "[![a](docs/rooms.svg)](docs/rooms.md)"
    wanted = f"[![a]({HOME}/raw/main/docs/rooms.svg)]({HOME}/blob/main/docs/rooms.md)"
    assert links["absolute"](link, ROOT / "README.md", HOME) == wanted


def test_with_a_home_page_the_readme_has_no_link_that_needs_the_repository() -> None:
    readme = ROOT / "README.md"
    text = links["absolute"](readme.read_text(), readme, HOME)
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)]+)\)", prose)
    assert targets
    assert all(target.startswith(("https://", "#")) for target in targets)
    assert links["home"]() == "" or links["home"]().startswith("https://")


@pytest.mark.parametrize("home", ["", HOME, f"{HOME}/"])
def test_a_package_index_gets_the_readme_and_the_home_page(home: str) -> None:
    pytest.importorskip("hatchling")
    hook = runpy.run_path(str(DOCS / "package.py"))["PackageIndex"](str(ROOT), {"home": home})
    metadata: dict[str, object] = {}
    hook.update(metadata)
    readme = (ROOT / "README.md").read_text()
    assert (metadata["readme"]["text"] == readme) == (not home)
    assert metadata.get("urls", {}).get("Homepage") == (HOME if home else None)


def test_a_notebook_becomes_a_page(tmp_path: Path) -> None:
    notebook = tmp_path / "a.ipynb"
    notebook.write_text(
        """{"cells": [
        {"cell_type": "markdown", "source": ["# A\\n", "b"]},
        {"cell_type": "code", "source": ["1 + 1"], "outputs": [
            {"output_type": "stream", "text": ["c\\n"]},
            {"output_type": "execute_result", "data": {"text/plain": ["2"]}},
            {"output_type": "display_data", "data": {"image/png": "iVBO\\n", "text/plain": "d"}}]}
        ]}"""
    )
    assert notebooks["page_of"](notebook) == (
        '# A\nb\n\n```python\n1 + 1\n```\n\n```text title="output"\nc\n```\n\n'
        '```text title="output"\n2\n```\n\n![output](data:image/png;base64,iVBO)\n'
    )


def test_a_configuration_becomes_a_table_of_its_fields() -> None:
    pytest.importorskip("griffe")
    table = runpy.run_path(str(DOCS / "fields.py"))["fields_of"]
    rows = table("SampleConfig").splitlines()
    assert "| `steps` | `int`, above 0 | `50` | Denoising steps. |" in rows
    (sampler,) = [row for row in rows if row.startswith("| `sampler` |")]
    assert sampler.startswith("| `sampler` | a name in `SAMPLERS` | `'ddim'` |")
    assert any(" or None | `None` |" in row for row in rows)
    assert "[`TrainConfig`][mezzotint.api.TrainConfig]" in table("Experiment")
    assert "`kind`" not in table("Experiment")


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_fetches_nothing(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", tmp_path / "site"],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    pages = [path.read_text() for path in (tmp_path / "site").rglob("*.html")]
    assert len(pages) > 40
    fetched = re.compile(
        r'<(?:script|img|link rel="stylesheet")[^>]*(?:src|href)="?(https?:[^" >]*)'
    )
    assert not [found for page in pages for found in fetched.findall(page)]
    training = (tmp_path / "site" / "reference" / "training.html").read_text()
    assert 'id="mezzotint.api.train"' in training
