"""The layouts of public data sets are read as docs/results/layouts.md says."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_is_what_is_understood():
    script = runpy.run_path(str(ROOT / "scripts" / "layouts.py"))
    assert script["PAGE"].read_text() == script["page"]()
    assert len(script["LAYOUTS"]) >= 50
