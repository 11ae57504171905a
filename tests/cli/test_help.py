"""The help of the verbs, and the completion of commands."""

from __future__ import annotations

import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from mezzotint import cli
from mezzotint.cli import edit, evaluate, sample, train
from mezzotint.cli.completion import SHELLS, script
from mezzotint.cli.help import filled, options, short

from commands import CapSys, call

WHOLE = """\
usage: mezzotint toast BREAD [-h] [OPTIONS]

Toast it.

╭─ options ──────────────────────────────────╮
│ -h, --help  show this help message         │
│ -n INT, --n INT                            │
│       How many. (default: 2)               │
│ --dark, --no-dark  Toast it longer, or not.│
╰────────────────────────────────────────────╯
╭─ bread options ────────────────────────────╮
│ How it is cut.                             │
│ ────────────────────────────────────────── │
│ --kind {white,brown,                       │
│ rye}                                       │
│       The bread. (default: rye)            │
╰────────────────────────────────────────────╯
"""


def test_the_options_of_a_help_are_found() -> None:
    assert options(WHOLE) == ["--n", "--dark", "--no-dark", "--kind"]


def test_a_short_help_shows_the_options_that_are_wanted_in_their_order() -> None:
    said = short(WHOLE, ["--kind", "--n"], "mezzotint toast BREAD").splitlines()
    assert said == [
        "usage: mezzotint toast BREAD [-h] [OPTIONS]",
        "",
        "Toast it.",
        "",
        "  --kind {white,brown,",
        "  rye}",
        "        The bread. (default: rye)",
        "  -n INT, --n INT",
        "        How many. (default: 2)",
        "",
        "1 more option: mezzotint toast BREAD --help-all",
    ]


def test_a_text_is_wrapped_and_its_lists_and_examples_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    text = """
        One paragraph of
        two lines.

        - an item of the
          list
        - another

            an example that stays as it is
        """
    assert filled(text).splitlines() == [
        "One paragraph of two",
        "lines.",
        "",
        "- an item of the",
        "  list",
        "- another",
        "",
        "    an example that stays as it is",
    ]


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("verb", ["sample", "evaluate", "sweep", "reproduce"])
def test_help_fills_the_terminal(
    verb: str, columns: int, capsys: CapSys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    code, said, _ = call(capsys, verb, "--help-all")
    lines = said.splitlines()
    assert (code, "(default: )" in said, "''" in said) == (0, False, False)
    assert max(map(len, lines)) <= max(columns, 76)  # the line about --json has 76
    for line, after in pairwise(lines):  # the first word after a break did not fit before it
        margin = len(after) - len(after.lstrip())
        goes_on = margin > 4 and line.startswith(" " * margin) and line[margin] != " "
        if goes_on and not after.lstrip().startswith("-"):
            assert len(line) + 1 + len(after.split()[0].split(",")[0]) >= columns - 2, line


@pytest.mark.parametrize("flags", [["--help"], ["--help-all"], ["--steps", "x"], ["--steps"]])
def test_help_and_mistakes_have_no_colours_on_a_terminal(
    flags: list[str], capsys: CapSys, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = call(capsys, "evaluate", "cifar10", *flags)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert call(capsys, "evaluate", "cifar10", *flags) == elsewhere
    assert "\x1b" not in "".join(elsewhere[1:])


@pytest.mark.parametrize(
    ("words", "often"),
    [
        (["sample"], sample.OFTEN),
        (["evaluate"], evaluate.OFTEN),
        (["edit"], edit.OFTEN),
        (["train", "glyphs-ddpm"], train.OFTEN),
        (["train", "glyphs-vae"], train.OFTEN),
    ],
)
def test_help_shows_about_ten_options_and_help_all_the_rest(
    words: list[str], often: tuple[str, ...], capsys: CapSys
) -> None:
    code, said, err = call(capsys, *words, "--help")
    assert (code, err) == (0, "")
    assert options(said)[0] == often[0]
    assert [flag for flag in options(said) if not flag.startswith("--no-")] == list(often)
    assert 8 <= len(often) <= 12
    assert said.rstrip().endswith("--help-all")
    code, every, err = call(capsys, *words, "--help-all")
    assert (code, err) == (0, "")
    assert set(often) < set(options(every))
    assert call(capsys, "help", *words)[1] == said


def test_the_help_of_a_kind_of_editing_begins_with_its_own_options(capsys: CapSys) -> None:
    code, said, err = call(capsys, "edit", "cifar10", "vary", "--help")
    assert (code, err) == (0, "")
    assert options(said)[:2] == ["--strength", "--n"]
    assert len([flag for flag in options(said) if not flag.startswith("--no-")]) == 10
    assert said.rstrip().endswith("more options: mezzotint edit cifar10 vary --help-all")


ASKING = ("train", "distil")  # verbs whose options depend on the word that follows


@pytest.mark.parametrize("verb", [verb for verb in cli.VERBS if verb not in ASKING])
def test_help_of_a_verb_is_its_own(verb: str, capsys: CapSys) -> None:
    code, said, err = call(capsys, "help", verb)
    assert (code, err) == (0, "")
    assert said == call(capsys, verb, "--help")[1]
    assert said.startswith(f"usage: mezzotint {verb}")


def test_help_behind_another_option_is_help(capsys: CapSys) -> None:
    code, said, _ = call(capsys, "train", "--resume", "--help")
    assert code == 0
    assert said.endswith(
        "or --resume RUN.\nTo see the options: mezzotint train glyphs-ddpm --help\n"
    )


def test_help_alone_is_the_usage_and_help_of_no_verb_a_message(capsys: CapSys) -> None:
    assert call(capsys, "help") == (0, f"{cli.usage()}\n", "")
    code, _, err = call(capsys, "help", "smaple")
    assert (code, err) == (2, "mezzotint: unknown verb 'smaple'; did you mean sample?\n")


def completed(text: str, *words: str) -> list[str]:
    """Return the completions that bash offers for the last word of a command."""
    line = f"COMP_WORDS=({' '.join(repr(word) for word in words)}); COMP_CWORD={len(words) - 1}"
    command = f'{text}\n{line}\n_mezzotint\nprintf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_completes_verbs_recipes_and_options(capsys: CapSys) -> None:
    code, text, err = call(capsys, "--completion", "bash")
    assert (code, err) == (0, "")
    assert completed(text, "mezzotint", "s") == ["sample", "sweep"]
    assert completed(text, "mezzotint", "train", "glyphs-d") == ["glyphs-ddpm"]
    assert completed(text, "mezzotint", "sample", "runs/x", "--ste") == ["--steps"]
    assert completed(text, "mezzotint", "edit", "cifar10", "enl") == ["enlarge"]
    assert completed(text, "mezzotint", "edit", "cifar10", "vary", "--str") == ["--strength"]
    assert completed(text, "mezzotint", "help", "rep") == ["report", "reproduce"]
    assert completed(text, "mezzotint", "doctor", "--h") == ["--help", "--help-all"]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_names_every_verb_and_option(shell: str, tmp_path: Path) -> None:
    text = script(shell, ["toast", "help"], {"toast": ["rye", "--dark"], "help": ["toast"]})
    dark = "-l dark" if shell == "fish" else "--dark"
    assert all(word in text for word in ("toast", "rye", dark))
    if shutil.which(shell):
        (tmp_path / "script").write_text(text)
        subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--completion needs a shell: choose bash, zsh, fish"),
        (["tcsh"], "unknown shell 'tcsh': choose one of bash, zsh, fish"),
    ],
)
def test_completion_for_no_shell_is_one_line(
    words: list[str], message: str, capsys: CapSys
) -> None:
    code, _, err = call(capsys, "--completion", *words)
    assert code == 2
    assert message in err


def test_none_is_no_value_of_an_option_without_a_default(capsys: CapSys) -> None:
    _, whole, _ = call(capsys, "sample", "--help-all")
    assert "None" not in whole
    assert "--nfe INT\n" in whole
    assert "--variance {small,large,learned}\n" in whole
