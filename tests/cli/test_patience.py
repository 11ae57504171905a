"""No verb is silent for long, on a terminal or elsewhere."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.progress import MofNCompleteColumn

from mezzotint.cli import patience
from mezzotint.config.experiment import Experiment
from mezzotint.drawing import bars
from mezzotint.drawing.bars import UNDER_WAY, Follower, progress, time_in_words
from mezzotint.run.watching import TrainingBar

from commands import CapSys, call


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the longest silence to a twentieth of a second, from ten seconds."""
    monkeypatch.setattr(patience, "SILENCE", 0.05)
    monkeypatch.setattr(patience, "TICK", 0.01)


def silent(seconds: float, lines: int = 0) -> None:
    for _ in range(lines or 1):
        time.sleep(seconds / (lines or 1))
        if lines:
            print("a line", file=sys.stderr)


def test_a_silence_is_broken_by_what_is_under_way(monkeypatch, capsys: CapSys) -> None:
    def work(arguments: list[str]) -> None:
        silent(0.2)
        with Follower("images") as follow:
            follow("features", 50, 1_000)
        silent(0.2)

    monkeypatch.setattr("mezzotint.cli.evaluate.evaluate", work)
    before = sys.stdout, sys.stderr
    code, said, err = call(capsys, "evaluate", "x")
    assert (code, said) == (0, "")
    lines = err.splitlines()
    assert lines[0] == "1 second: evaluate"
    assert lines[-1] == "1 second: features, 50 of 1,000"
    assert (sys.stdout, sys.stderr) == before


def test_who_says_something_in_time_is_not_interrupted(monkeypatch, capsys: CapSys) -> None:
    monkeypatch.setattr(patience, "SILENCE", 0.2)
    monkeypatch.setattr("mezzotint.cli.doctor.doctor", lambda _: silent(0.4, lines=40))
    assert call(capsys, "doctor", "x")[2] == "a line\n" * 40


def test_a_failure_ends_it(monkeypatch, capsys: CapSys) -> None:
    def fail(arguments: list[str]) -> None:
        raise OSError("no such thing")

    monkeypatch.setattr("mezzotint.cli.doctor.doctor", fail)
    assert call(capsys, "doctor", "x") == (2, "", "mezzotint: no such thing\n")
    silent(0.1)
    assert capsys.readouterr() == ("", "")


def test_after_ten_minutes_without_a_terminal_a_line_comes_each_minute(
    monkeypatch, capsys: CapSys
) -> None:
    monkeypatch.setattr(patience, "LONG", 0.0)
    monkeypatch.setattr("mezzotint.cli.doctor.doctor", lambda _: silent(0.2))
    assert call(capsys, "doctor", "x")[2] == ""


def test_a_training_says_where_it_stands_without_a_terminal(
    tiny: Experiment, tmp_path: Path, capsys: CapSys, monkeypatch
) -> None:
    monkeypatch.setattr(patience, "SILENCE", 0.0)
    words = ["--images", "320", "--batch", "8", "--channels", "4", "8", "--groups", "2"]
    code, _, err = call(capsys, "train", "glyphs-ddpm", "--out", str(tmp_path / "run"), *words)
    assert code == 0
    assert ": train, " in err
    assert " of 320 images" in err


def test_every_bar_says_what_it_is_about() -> None:
    from mezzotint.run import Progress

    with progress(MofNCompleteColumn()) as bar:
        bar.update(bar.add_task("preparing cats", total=2_000), completed=1_500)
    assert UNDER_WAY["what"] == "preparing cats, 1,500 of 2,000"
    with TrainingBar(shown=False) as training:
        training.on("train linear", Progress(64, 1_000, 0.25))
    assert UNDER_WAY["what"] == "train linear, 64 of 1,000 images  loss 0.2500"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 second"), (1.4, "1 second"), (1.6, "2 seconds"), (119, "119 seconds")],
)
def test_one_second_is_not_called_seconds(seconds: float, words: str) -> None:
    assert time_in_words(seconds) == words


def test_the_time_that_is_left_is_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter((0.0, 30.0))
    monkeypatch.setattr(bars, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with Follower("images") as follow:
        follow("samples", 100, 1_000)
        assert UNDER_WAY["what"] == "samples, 100 of 1,000"
        follow("samples", 200, 1_000)
    assert UNDER_WAY["what"] == "samples, 200 of 1,000, about 4 minutes left"
