"""The words of docstrings, comments, help texts and messages, held to the style of the project."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(
    file
    for place in ("src/mezzotint", "benchmarks", "scripts", "docs")
    for file in (ROOT / place).rglob("*.py")
)

FORBIDDEN = {
    r"\bpictures?\b": "image, or sample for one that a model made",
    r"\btold\b": "say what the network is conditioned on, or what a function is given",
    r"\bas (\w+ )?has it\b": "see NAME",
    r"\bthere (is|are) none of\b": "does not exist",
    r"\b(what|that) is no\b": "is not a",
    r"\b\w+\(s\)": "write singular and plural out",
    r"\b(is|are) none that\b": "say what cannot be done with it",
    r"\bin the place of\b": "in place of, or instead of",
    r"\bwhereby\b": "so that, or by which",
}
"""What may not be written, and what to write instead."""
HEADLESS = (
    r"(Of (a|an|the|what|which|those|each|two)|As \w+ has|That of|Those of|In which|On which)\b"
)
"""How no docstring begins: with a genitive or a relative that has no head."""
RAISED = {"UserError", "ValueError", "NotImplementedError"}
HINTED = r"(unknown|there is no|.* has no) .*\{\}$"
"""Texts that end with what to do as `nearest` or a list says it."""


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def docstrings(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the docstrings of a file, including those of fields."""
    for node in ast.walk(tree(file)):
        said = node.value if isinstance(node, ast.Expr) else None
        if isinstance(said, ast.Constant) and isinstance(said.value, str):
            yield said.lineno, said.value


def comments(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the comments of a file."""
    for token in tokenize.generate_tokens(io.StringIO(file.read_text()).readline):
        if token.type == tokenize.COMMENT and "type: ignore" not in token.string:
            yield token.start[0], token.string.lstrip("# ")


def text(node: ast.expr) -> str | None:
    """Return the text of an expression with {} for values, or None if it is not a literal."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text(part) or "{}" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        parts = [text(node.left), text(node.right)]
        return None if parts == [None, None] else "".join(part or "{}" for part in parts)
    return None


def calls(file: Path, names: set[str]) -> Iterator[tuple[int, str]]:
    """Yield the texts that a file passes to the functions ``names``."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in names and (said := text(node.args[0])) is not None:
                yield node.lineno, said


def messages(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the texts of errors, warnings and printed lines."""
    yield from calls(file, {*RAISED, "warn", "print", "say"})


def says_what_to_do(said: str) -> bool:
    """Return whether a message names a fault and a remedy, or requests what is missing."""
    return not said.endswith(".") and (
        ": " in said or said.startswith("give ") or re.match(HINTED, said) is not None
    )


def place(file: Path, line: int) -> str:
    return f"{file.relative_to(ROOT)}:{line}"


def found(texts: Iterator[tuple[int, str]], file: Path) -> list[str]:
    """Return the places of forbidden words, with what to write instead."""
    return [
        f"{place(file, line)}: {match[0]!r} ({instead})"
        for line, said in texts
        for words, instead in FORBIDDEN.items()
        if (match := re.search(words, said, re.IGNORECASE))
    ]


def test_the_forbidden_words_are_found() -> None:
    bad = [
        "a picture",
        "is told the class",
        "as Pipeline has it",
        "settings that there are none of",
    ]
    bad += ["of what is no run", "3 image(s)", "is none that can be read"]
    for said in bad:
        assert found(iter([(1, said)]), FILES[0]), said
    assert not found(iter([(1, "Return the images that the model made.")]), FILES[0])


@pytest.mark.parametrize("of", [docstrings, comments, messages])
def test_no_text_has_forbidden_words(of) -> None:
    assert [each for file in FILES for each in found(of(file), file)] == []


def test_no_docstring_begins_without_a_head() -> None:
    assert [
        f"{place(file, line)}: {said.strip().splitlines()[0]}"
        for file in FILES
        for line, said in docstrings(file)
        if re.match(HEADLESS, said.strip())
    ] == []


def test_messages_without_a_remedy_are_found() -> None:
    assert says_what_to_do("`size` is {}: give a side of at least 1 pixel")
    assert says_what_to_do("unknown sampler {}{}")
    assert not says_what_to_do("{} is damaged")
    assert not says_what_to_do("The file is damaged: delete it.")


def test_errors_say_what_is_wrong_and_what_to_do() -> None:
    """They have the form ``what is wrong: what to do``, without a full stop."""
    assert [
        f"{place(file, line)}: {said}"
        for file in FILES
        for line, said in calls(file, {"UserError"})
        if said.strip("{}") and not says_what_to_do(said)
    ] == []


def test_errors_begin_in_lower_case() -> None:
    assert [
        f"{place(file, line)}: {said}"
        for file in FILES
        for line, said in calls(file, {"UserError"})
        if re.match(r"[A-Z][a-z]", said)
    ] == []
