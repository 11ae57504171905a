"""The program accepts every command in the documentation.

A command is parsed, not executed. tests/docs/test_tutorials.py executes those of the tutorials and
of the beginning of the README.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest

from mezzotint import cli

from commands import CapSys, call
from examples import BLOCK, commands

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "src").rglob("*.md")),
]
LANGUAGES = {
    "": "commands",
    "console": "commands and their output",
    "python": "examples, run by a test of their page",
    "text": "output and layouts",
}
RUN_BY = {  # the test that runs a page's examples in Python
    "README.md": "test_python",
    "docs/export.md": "test_python",
    "docs/extending.md": "test_extending",
    "docs/index.md": "test_python",
    "docs/maths.md": "test_docs",
    "docs/metrics.md": "test_metrics",
    "docs/python.md": "test_python",
    "docs/tutorials/paper.md": "test_tutorials",
    "docs/tutorials/artist.md": "test_tutorials",
    "docs/tutorials/conditions.md": "test_tutorials",
    "docs/tutorials/few-steps.md": "test_tutorials",
    "docs/tutorials/photographs.md": "test_tutorials",
    "src/mezzotint/pretrained/cifar10/README.md": "test_python",
}


NOT_RUN = {
    "docs/playground.md": "serves until it is stopped: tests/ui opens it",
    "docs/foreign.md": "needs folders that diffusers saved: tests/interop makes and loads some",
}


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def inside(words: list[str]) -> list[str]:
    """Return the command that a container or torchrun starts, or else the command itself."""
    if words[:2] == ["docker", "run"]:
        image = next(i for i, word in enumerate(words) if word.split(":")[0] == "mezzotint")
        if "--entrypoint" not in words:
            return ["mezzotint", *words[image + 1 :]]
        words = [words[words.index("--entrypoint") + 1], *words[image + 1 :]]
    if words[0] == "torchrun":
        return words[words.index("-m") + 1 :]
    return words


COMMANDS = {
    f"{name(page)}: {' '.join(words)}": words
    for page in PAGES
    for words in map(inside, commands(page.read_text()))
}
OURS = {said: words for said, words in COMMANDS.items() if words[0] == "mezzotint"}


class Parsed(Exception):
    """The flags were parsed."""


@pytest.fixture
def parse_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop each verb when it has parsed its flags."""
    for verb in (*cli.VERBS, "reconstructions"):
        module = import_module(f"mezzotint.cli.{verb}")
        monkeypatch.setattr(module, "parse", partial(parsed, module.parse))


def parsed(parse: Callable[..., object], *arguments: object) -> None:
    parse(*arguments)
    raise Parsed


@pytest.mark.parametrize("words", OURS.values(), ids=OURS)
def test_a_command_is_parsed(
    words: list[str], parse_alone: None, trained: Path, trained_vae: Path, capsys: CapSys
) -> None:
    runs = [re.sub(r"^(runs/\S*vae|RUN/vae)$", str(trained_vae), word) for word in words[1:]]
    runs = [re.sub(r"^(runs/\S*|RUN)$", str(trained), word) for word in runs]
    if words[1] == "sample" and "/" in words[2]:
        runs[1] = str(trained)
    if set(words) & {"--help", "--help-all", "--version"}:
        assert call(capsys, *runs)[0] == 0
        return
    try:
        code, _, err = call(capsys, *runs)
    except Parsed:
        return
    assert code == 0, err


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_block_of_a_page_is_of_a_kind_that_is_tested(page: Path) -> None:
    kinds = {language for language, _ in BLOCK.findall(page.read_text())}
    assert kinds <= {*LANGUAGES}
    assert ("python" in kinds) == (name(page) in {*RUN_BY, *NOT_RUN})


def test_what_runs_the_examples_of_a_page_is_there() -> None:
    for page, test in RUN_BY.items():
        assert Path(page).name in (Path(__file__).with_name(f"{test}.py")).read_text()


def test_other_programs_have_what_they_are_called_for() -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for said, words in COMMANDS.items():
        match words[0]:
            case "mezzotint" | "alias" | "docker" | "mkdir":
                pass
            case "make":
                assert words[1] in targets, said
            case "pip":
                assert words[1] == "install", said
            case "python" if words[1].endswith(".py"):
                assert (ROOT / words[1]).exists(), said
            case "python":
                assert words[1] in ("-c", "-m"), said
            case program:
                pytest.fail(f"{program} is not a program that the pages should need: {said}")
