"""The command `mezzotint sweep`: its output and its exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest

import mezzotint as mz
from mezzotint.tuning import search

from commands import CapSys, call


def swept(capsys: CapSys, run: Path, flags: str) -> tuple[int, str, str]:
    return call(capsys, "sweep", str(run), "--samples", "12", *flags.split())


def test_the_command_prints_what_python_returns(trained: Path, capsys: CapSys) -> None:
    flags = "--precision float32 --sampler ddim heun --guidance 1 2 --nfe 3 5"
    code, said, _ = swept(capsys, trained, flags)
    assert code == 0
    first, *table, page, recommended = said.splitlines()
    assert first.startswith(
        "8 combinations of settings (12 samples each), 8 to be measured in about "
    )
    options = {"samples": 12, "precision": "float32", "guidance": [1, 2], "nfe": [3, 5]}
    found = mz.sweep(trained, **options, sampler=["ddim", "heun"], minutes=0)
    assert table == repr(found).splitlines()
    assert page.endswith(str(found.page))
    assert recommended.endswith(str(found.recommended))
    head, *rows = table[:9]
    assert head.split() == [
        "calls",
        "sampler",
        "steps",
        "guidance",
        "fd-glyphs",
        "class",
        "accuracy",
    ]
    assert [tuple(row.split()[:4]) for row in rows] == [
        (f"{c.calls}", c.method, f"{c.settings.steps}", f"{c.settings.guidance:g}")
        for c in found.cells
    ]


def test_intervals_are_none_or_two_numbers(trained: Path, capsys: CapSys) -> None:
    flags = "--sampler ddim --guidance 2 --nfe 3 --interval none 0.2,5"
    code, said, _ = swept(capsys, trained, flags)
    assert code == 0
    assert "  ddim on 0.2 to 5  " in said
    assert "  ddim              " in said


def test_a_limit_may_be_set_aside(trained: Path, capsys: CapSys, monkeypatch) -> None:
    monkeypatch.setattr(search, "seconds_of", lambda call: (call(), 60.0)[1])
    flags = "--sampler ddim --guidance 1.25 --nfe 3 --minutes 1"  # no other test has samples of it
    code, out, err = swept(capsys, trained, flags)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert (
        "1 combination of settings (12 samples each) would take about 5 minutes, more than "
        "--minutes 1: raise" in err
    )
    assert swept(capsys, trained, f"{flags} --yes")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("sweep", "give a run"),
        ("sweep nowhere", "there is no folder nowhere"),
        ("sweep RUN/checkpoints/step-12", "is not a run: give the folder of a run"),
        ("sweep RUN --nfe 3 --steps 3", "--nfe and --steps are both given"),
        ("sweep RUN --sampler", "there is nothing to sweep"),
        ("sweep RUN --guidance -1", "guidance: input should be greater than or equal to 0"),
        ("sweep RUN --interval 5", "--interval is '5': give the word none, or two values"),
        ("sweep RUN --samples some", "give 1k, 5k, 10k, 50k or a number"),
        ("sweep RUN --metric prdc", "prdc"),
        ("sweep RUN --network vgg", "vgg"),
        ("sweep RUN --minutes 0", "more than --minutes 0: raise that limit"),
        ("sweep RUN --stepps 3", "unknown option --stepps; did you mean --steps"),
    ],
)
def test_bad_input_is_one_clear_line(
    trained: Path, tmp_path: Path, capsys: CapSys, monkeypatch, arguments: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    code, out, err = call(capsys, *arguments.replace("RUN", str(trained)).split())
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1, err
    assert message in err
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
