"""The help of a verb: the options that people use first, or all of them."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Collection, Iterator
from itertools import takewhile
from typing import Any

HELP, HELP_ALL = ("-h", "--help"), "--help-all"


def printed(act: Callable[[], Any]) -> str:
    """Return the text that a call prints, even if the call exits."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        act()
    return said.getvalue()


def short(whole: str, first: Collection[str], program: str) -> str:
    """Return the help with only the options in ``first``, and a line on how to see the others.

    Args:
        whole: The help of all options, as tyro prints it.
        first: The options to show, such as "--out".
        program: The command that the help is about.
    """
    entries = {flag: lines for lines in _entries(whole) for flag in _flags(lines)[:1]}
    missing = sorted(set(first) - entries.keys())
    assert not missing, f"{program} has no option {missing[0]}"
    head = takewhile(lambda line: line[:1] not in (" ", "╭"), whole.splitlines())
    lines = [line for flag in first for line in entries[flag]]
    rest = len(entries) - len(first)
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(head).strip())
    return "\n".join(
        [text, "", *lines, "", f"{rest} more option{'s' * (rest != 1)}: {program} {HELP_ALL}"]
    )


def options(whole: str) -> list[str]:
    """Return the options that a help text of tyro lists, in their order."""
    return list(dict.fromkeys(flag for lines in _entries(whole) for flag in _flags(lines)))


def _entries(whole: str) -> Iterator[list[str]]:
    """Yield the lines of each option, without the box around them."""
    entry: list[str] = []
    for line in whole.splitlines():
        text = f" {line[1:]}".rstrip(" │")  # the frame consists of lines or of spaces
        if re.match(r"  --?[a-z]", text):
            if entry:
                yield entry
            entry = [text]
        elif entry and (text.startswith("    ") or _is_open(entry)):
            entry.append(text)
    if entry:
        yield entry


def _is_open(entry: list[str]) -> bool:
    """Return whether the choices of an option continue in the next line."""
    return " ".join(entry).count("{") > " ".join(entry).count("}")


def _flags(entry: list[str]) -> list[str]:
    """Return the long names of an option, such as --flip and --no-flip; none for --help."""
    names = takewhile(lambda part: part.startswith("-"), entry[0].strip().split(", "))
    flags = [part.split()[0] for part in names]
    return [flag for flag in flags if flag.startswith("--") and flag != "--help"]
