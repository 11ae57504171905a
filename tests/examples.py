"""Run the examples of a documentation page."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

EXAMPLE = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
BLOCK = re.compile(r"^```(\w*).*?\n(.*?)^```", re.DOTALL | re.MULTILINE)


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


def commands(text: str) -> list[list[str]]:
    """Return the words of each command of a page, in order.

    A block without a language holds commands alone. In a block of the language console each command
    begins with ``$``, and its output follows. A backslash at the end of a line continues it, and
    ``&&`` joins two commands.
    """
    found = []
    for language, block in BLOCK.findall(text):
        lines = re.sub(r"\\\n\s*", "", block).splitlines()
        if language == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        elif language:
            continue
        for line in lines:
            for part in line.split(" && "):
                if words := shlex.split(part, comments=True):
                    found.append(words)
    return found
