"""The command `mezzotint reproduce`: its output and its exit codes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import mezzotint as mz
from mezzotint.diffusion.samplers import SAMPLERS

from commands import CapSys, call


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_all_four_then_nothing_again(small: None, tmp_path: Path, capsys: CapSys) -> None:
    out = tmp_path / "all"
    code, said, err = call(capsys, "reproduce", "--out", str(out))
    assert code == 0, err
    assert "train linear, 96 images: about" in said
    assert said.splitlines()[-1] == (
        f"wrote the page to {out / 'report.html'}: open it in a browser"
    )
    table = (out / "reproduce.md").read_text()
    assert ", by mezzotint reproduce --scale glyphs: 10 samples for each row" in table
    four = table.split("## The four experiments")[1].split("## ")[0]
    assert [four.count(f"| {letter}: ") for letter in "ABCD"] == [1, 1, 1, 1]
    assert "47.92" in four
    assert "323.51" in four
    assert "the weights of Inception are not on this machine" in four
    assert "fd-glyphs" in four
    judged = table.split("## The paper's statements")[1].split("## ")[0]
    assert judged.count("| B | ") == 4
    assert "| C | the FID is 323.51 | no FID was measured | not measurable here |" in judged
    rows = lines(out / "rows.jsonl")
    assert len(rows) == 16
    for row in rows:
        calls = SAMPLERS[row["settings"]["sampler"]].cost(row["settings"]["steps"])
        assert row["seconds"] > 0
        assert calls >= 10
        assert all(f["low"] <= f["value"] <= f["high"] for f in row["figures"])
    assert [row["model"] for row in lines(out / "study.jsonl")] == ["linear", "cosine", "adaptive"]
    page = (out / "report.html").read_text()
    for title in ("What fewer steps cost", "Schedules", "Samples", "Curves", "Trainings"):
        assert f">{title}</h2>" in page
    for image in ("what-fewer-steps-cost.png", "schedules.png", "pictures.png"):
        assert (out / image).exists()
        assert f"({image})" in table

    logs = {path: path.read_text() for path in out.rglob("*.jsonl")}
    code, said, _ = call(capsys, "reproduce", "--out", str(out))
    assert code == 0
    assert "in all: nothing left to do" in said
    assert {path: path.read_text() for path in out.rglob("*.jsonl")} == logs

    # Python returns what the command has written.
    found = mz.reproduce(out=out)
    assert found.page == out / "report.html"
    assert [[f.row for f in row.figures.values()] for row in found.rows] == [
        row["figures"] for row in rows
    ]
    assert {row.paper for row in found.rows if row.experiment in "BC"} == {47.92, 323.51}

    # A run that was deleted is trained again, and gives what it gave.
    shutil.rmtree(out / "cosine")
    shutil.rmtree(out / "latent")
    code, _, _ = call(capsys, "reproduce", "--out", str(out))
    assert code == 0
    assert (out / "cosine" / "checkpoints" / "step-12").exists()
    assert (out / "rows.jsonl").read_text() == logs[out / "rows.jsonl"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--only X", "unknown experiment 'X' in --only: choose from A, B, C, D"),
        ("--scale huge", "huge"),
        ("--images 0", "images: input should be greater than 0, not 0"),
        ("--hours nan", "hours: input should be a finite number, not nan"),
        ("--seed -1", "seed: input should be greater than or equal to 0, not -1"),
        ("--samples 5", "give at least 10"),
        ("--hour 3", "unknown option --hour; did you mean --hours"),
        ("--only D --data nowhere", "(--data is the path of the images)"),
    ],
)
def test_bad_input_is_one_clear_line(
    small: None, tmp_path: Path, capsys: CapSys, arguments: str, said: str
) -> None:
    out = tmp_path / "out"
    code, _, err = call(capsys, "reproduce", "--out", str(out), *arguments.split())
    assert (code, err.count("\n")) == (2, 1)
    assert said in err
    assert not out.exists()


def test_what_is_left_out_names_flags(small: None, tmp_path: Path, capsys: CapSys) -> None:
    flags = ["--out", str(tmp_path), "--only", "D", "--hours", "1e-9"]
    code, said, _ = call(capsys, "reproduce", *flags)
    assert code == 0
    assert "  cosine is left out: its training would take about" in said
    assert "more than --hours 1e-09: allow more, or" in said
    assert "in all: nothing left to do" in said
