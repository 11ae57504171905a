"""The help of a verb: the options that people use first, or all of them."""

from __future__ import annotations

import contextlib
import inspect
import io
import re
import shutil
import textwrap
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from itertools import pairwise, takewhile
from typing import Annotated, Any

import tyro
from tyro.constructors import (
    ConstructorRegistry,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

HELP, HELP_ALL = ("-h", "--help"), "--help-all"
DESCRIBED = ConstructorRegistry()
"""Makes tyro describe options as `_described` says: ``with DESCRIBED: tyro.cli(...)``."""
_asked: list[StructTypeInfo] = []  # the classes that tyro is describing at the moment


@DESCRIBED.struct_rule
def _described(info: StructTypeInfo) -> StructConstructorSpec | None:
    """Return tyro's description of the fields of a class, without line breaks and empty defaults.

    An empty default is None, "" or (). tyro wraps descriptions to the width of the terminal, but
    keeps the line breaks of the source.
    """
    if any(info is each for each in _asked):
        return None
    _asked.append(info)
    try:
        usual = ConstructorRegistry.get_struct_spec(info)
    finally:
        _asked.pop()
    if not isinstance(usual, StructConstructorSpec):
        return None
    return replace(usual, fields=tuple(map(_field, usual.fields)))


def _field(field: StructFieldSpec) -> StructFieldSpec:
    kind: Any = field.type
    if field.default in ((), "", None):
        kind = Annotated[kind, tyro.conf.arg(help_behavior_hint="")]

    def about() -> str | None:
        said = field.helptext() if callable(field.helptext) else field.helptext
        return said and joined(said)

    return replace(field, type=kind, helptext=about)


def joined(text: str) -> str:
    """Join the lines of each paragraph and of each list item, except lines indented by 4 spaces."""
    lines: list[str] = []
    for line in inspect.cleandoc(text).splitlines():
        goes_on = lines and lines[-1] and not lines[-1].startswith("    ")
        if goes_on and line and not line.startswith(("- ", "    ")):
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line)
    return "\n".join(lines)


def filled(text: str) -> str:
    """Wrap the paragraphs and list items of a text to the width of the terminal."""
    wrapper = textwrap.TextWrapper(
        shutil.get_terminal_size().columns, break_long_words=False, break_on_hyphens=False
    )
    lines: list[str] = []
    for line in joined(text).splitlines():
        wrapper.subsequent_indent = "  " if line.startswith(("- ", "usage:")) else ""
        lines += [line] if line.startswith("    ") else wrapper.wrap(line) or [""]
    return "\n".join(lines)


def printed(act: Callable[[], Any]) -> str:
    """Return the text that a call prints, even if the call exits."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        act()
    return said.getvalue()


def without_none(whole: str) -> str:
    """Remove None, the printed value of an option without a default, from a help text."""
    lines = whole.splitlines()
    starts = [i for i, line in enumerate(lines) if re.match(r"[ │]+--?[a-z]", line)]
    for start, end in pairwise([*starts, len(lines)]):
        if "(default:" not in " ".join(lines[start:end]):
            lines[start] = lines[start].replace("{None}|", "").replace("{None,", "{")
    return "\n".join(lines)


def full(whole: str) -> str:
    """Return the help with all options, without tyro's boxes.

    Args:
        whole: The help that tyro prints without a terminal. Its boxes are made of spaces and "-".
    """
    lines = [line.rstrip() for line in whole.splitlines()]
    body = "\n".join(lines[len(_head(whole)) :])
    body = re.sub(r"^ [\w ]*options\n -+\n((?:  .*\n|\n)+?)  -+\n", r"\1\n", body, flags=re.M)
    body = re.sub(r"^ options\n -+\n", "  Options:\n\n", body, flags=re.M)
    return f"{filled(_introduction(whole))}\n\n{body.strip(chr(10))}"


def short(whole: str, first: Collection[str], program: str) -> str:
    """Return the help with only the options in ``first``, and the command that shows all options.

    Args:
        whole: The help of all options, as tyro prints it.
        first: The options to show, such as "--out".
        program: The command that the help is about.
    """
    entries = {flag: lines for lines in _entries(whole) for flag in _flags(lines)[:1]}
    missing = sorted(set(first) - entries.keys())
    assert not missing, f"{program} has no option {missing[0]}"
    lines = [line for flag in first for line in entries[flag]]
    rest = len(entries) - len(first)
    more = f"{rest} more option{'s' * (rest != 1)}: {program} {HELP_ALL}"
    return "\n".join([filled(_introduction(whole)), "", *lines, "", more])


def options(whole: str) -> list[str]:
    """Return the options that a help text lists, in their order."""
    return list(dict.fromkeys(flag for lines in _entries(whole) for flag in _flags(lines)))


def _head(whole: str) -> list[str]:
    """Return the lines before the options: the usage and the description."""
    return list(takewhile(lambda line: line[:1] not in (" ", "╭"), whole.splitlines()))


def _introduction(whole: str) -> str:
    return re.sub(r"\n{3,}", "\n\n", "\n".join(_head(whole)).strip())


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
    """Return the long names of an option, such as --flip and --no-flip; [] for --help."""
    names = takewhile(lambda part: part.startswith("-"), entry[0].strip().split(", "))
    flags = [part.split()[0] for part in names]
    return [flag for flag in flags if flag.startswith("--") and flag != "--help"]
