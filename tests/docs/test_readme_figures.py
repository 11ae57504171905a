"""The tables in README.md equal those in docs/results."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "docs" / "readme.py"
main = runpy.run_path(str(SCRIPT))["main"]

TABLE = "| a | b |\n|---|---|\n| 1 | 2 |"
RESULTS = (
    f"# Speed\n\n<!-- table: one -->\n{TABLE}\n\n| c |\n|---|\n\n<!-- table: last -->\n{TABLE}\n"
)
FROM = "<!-- from docs/results/speed.md: one -->"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "docs" / "results").mkdir(parents=True)
    (tmp_path / "docs" / "results" / "speed.md").write_text(RESULTS)
    return tmp_path


def test_the_readme_has_the_tables_of_the_results() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (ROOT / "README.md").read_text().count("\n<!-- from ") >= 2


def test_the_table_of_samplers_is_of_those_measured() -> None:
    """Its rows are rows of the pages in docs/results/samplers."""
    text = (ROOT / "docs" / "results" / "samplers.md").read_text()
    rows = re.findall(r"^\| `(\w+)`, (\S+), .* images \|(.*) \|$", text, re.MULTILINE)
    assert rows
    for sampler, data, figures in rows:
        page = ROOT / "docs" / "results" / "samplers" / f"calls-{data.lower().replace('-', '')}.md"
        assert f"| `{sampler}` |{figures} |" in page.read_text()


def test_blocks_are_filled_and_all_else_is_left(root: Path) -> None:
    readme = root / "README.md"
    last = FROM.replace("one", "last")
    readme.write_text(f"# A\n\n{FROM}\nold\n\nolder\n<!-- end -->\n\nB\n{last}\n<!-- end -->")
    with pytest.raises(SystemExit, match=r"README\.md differs from docs/results"):
        main(["--check"], root)
    main([], root)
    wanted = f"# A\n\n{FROM}\n{TABLE}\n<!-- end -->\n\nB\n{last}\n{TABLE}\n<!-- end -->"
    assert readme.read_text() == wanted
    main(["--check"], root)


@pytest.mark.parametrize(
    ("readme", "message"),
    [
        (f"{FROM}\n<!-- end -->".replace("speed", "sped"), r"there is no \S+sped\.md"),
        (
            f"{FROM}\n<!-- end -->".replace("one", "two"),
            r"speed\.md: put <!-- table: two --> above",
        ),
        (f"{FROM}\n", r"the block docs/results/speed\.md: one is not closed"),
        (f"{FROM}\n{FROM}\n<!-- end -->\n", r"the block docs/results/speed\.md: one is not closed"),
    ],
)
def test_what_cannot_be_filled_is_one_line(root: Path, readme: str, message: str) -> None:
    (root / "README.md").write_text(readme)
    with pytest.raises(SystemExit, match=message) as wrong:
        main([], root)
    assert len(str(wrong.value).splitlines()) == 1
    assert (root / "README.md").read_text() == readme
