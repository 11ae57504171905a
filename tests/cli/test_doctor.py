"""The command `mezzotint doctor`: its output and its exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest

from mezzotint.doctor import Finding, diagnose, examination
from mezzotint.errors import as_flags
from spoil import spoil

from commands import CapSys, call


def not_a_number(run: Path) -> None:
    spoil(run, "ema", lambda tensors: {k: v * float("nan") for k, v in tensors.items()})


def test_the_command_says_what_is_wrong_and_exits_with_1(trained: Path, capsys: CapSys) -> None:
    not_a_number(trained)
    code, said, _ = call(capsys, "doctor", str(trained), "--samples", "20")
    assert code == 1
    assert "wrong: weights not finite\n  measured: " in said
    assert "\n  cause: " in said
    assert "\n  fix: " in said
    assert "looked for and not found: warm-up never ended" in said
    assert said.splitlines()[-1] == f"{trained}: 1 wrong, 2 doubtful"


def test_the_command_prints_what_python_returns(trained: Path, capsys: CapSys) -> None:
    not_a_number(trained)
    said = call(capsys, "doctor", str(trained), "--samples", "20")[1]
    found = diagnose(trained, samples=20)
    *lines, counts = as_flags(repr(found)).splitlines()
    assert said.splitlines() == [*lines, f"{trained}: {counts}"]
    assert "train again with a lower --lr" in said
    assert "train again with a lower `lr`" in repr(found)


def test_where_nothing_is_wrong_it_says_so_and_exits_with_0(capsys, monkeypatch) -> None:
    found = [Finding("well", "plateau", "0"), Finding("doubtful", "colour drift", "1", "a", "b")]
    monkeypatch.setattr(examination, "examine", lambda *_: iter(found))
    code, said, _ = call(capsys, "doctor", "any")
    assert code == 0
    assert said.endswith("not found: plateau\nany: nothing wrong, 1 doubtful\n")
    code, said, _ = call(capsys, "doctor", "any", "--help")
    assert code == 0
    assert "The exit code is 1 if something is wrong" in " ".join(said.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("doctor", "give a run's folder"),
        ("doctor nowhere", "nowhere is not a run"),
        ("doctor RUN --samples 3", "3 images cannot be measured: give at least 10"),
        ("doctor RUN --smaples 3", "unknown option --smaples; did you mean --samples"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    arguments: str, message: str, trained: Path, capsys: CapSys
) -> None:
    code, _, said = call(capsys, *arguments.replace("RUN", str(trained)).split())
    assert (code, len(said.splitlines())) == (2, 1)
    assert message in said
