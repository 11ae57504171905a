"""The examples of a page of the documentation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

EXAMPLE = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def run_examples(path: Path) -> dict[str, Any]:
    """Run a page's examples in their order and in one namespace, at their lines in the page.

    Returns the namespace.
    """
    text = path.read_text()
    names: dict[str, Any] = {}
    for example in EXAMPLE.finditer(text):
        above = text[: example.start(1)].count("\n")
        exec(compile("\n" * above + example[1], path.name, "exec"), names)
    return names
