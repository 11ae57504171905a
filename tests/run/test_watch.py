"""Measurements during a training."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest

import mezzotint as mz
from mezzotint.config.experiment import Experiment
from mezzotint.run import Interrupted, run
from mezzotint.storage.log import read
from together import together

from trainings import assert_same, curve, finish


@pytest.fixture
def watched(tiny: Experiment) -> Experiment:
    """An experiment that is measured after 4, 8 and 12 of its 12 steps."""
    return replace(tiny, evaluate_every=32, evaluate_samples=20)


def assert_best(folder: Path) -> None:
    """Check that `best` holds the average of the step with the least distance."""
    step = min(curve(folder), key=lambda row: row[2])[0]
    state = json.loads((folder / "checkpoints" / "best" / "state.json").read_text())
    assert state["step"] == step
    assert mz.load(folder / "checkpoints" / "best").sample(2).shape == (2, 3, 32, 32)


def test_the_curve_goes_to_the_log_and_the_best_average_is_kept(watched, tmp_path) -> None:
    finish(watched, tmp_path / "run")
    found = curve(tmp_path / "run")
    assert [row[0] for row in found] == [4, 8, 12]
    assert {row[1] for row in found} == {"fd-glyphs"}
    assert_best(tmp_path / "run")
    assert not (tmp_path / "run" / ".evaluation").exists()


def test_measuring_does_not_touch_the_training(watched, tiny, tmp_path) -> None:
    finish(watched, tmp_path / "watched")
    finish(tiny, tmp_path / "whole")
    assert_same(tmp_path / "watched", tmp_path / "whole")


@pytest.mark.parametrize("steps", [3, 5, 9])
def test_a_resumed_curve_is_the_whole_one(watched, tmp_path, steps: int) -> None:
    finish(watched, tmp_path / "whole")
    running = run(watched, tmp_path / "run")
    for now in running:
        if now.images >= steps * 8:
            break
    running.close()
    finish(watched, tmp_path / "run", resume=True)
    assert curve(tmp_path / "run") == curve(tmp_path / "whole")
    assert_best(tmp_path / "run")


@pytest.mark.parametrize("change", ["nothing", "samples", "sampling"])
def test_figures_that_were_made_otherwise_are_no_rivals(watched, tmp_path, change: str) -> None:
    finish(watched, tmp_path / "run")
    log = tmp_path / "run" / "log.jsonl"
    rows = read(log)
    for row in rows:
        row.get("figure", {})["value"] = -1.0  # which nothing beats
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    longer = replace(watched, train=replace(watched.train, images=128))
    if change == "samples":
        longer = replace(longer, evaluate_samples=30)
    if change == "sampling":
        longer = replace(longer, sample=replace(longer.sample, steps=3))
    finish(longer, tmp_path / "run", resume=True)
    state = json.loads((tmp_path / "run" / "checkpoints" / "best" / "state.json").read_text())
    assert (state["step"] == 16) == (change != "nothing")


def test_a_signal_while_it_is_measured_loses_nothing(watched, tmp_path, monkeypatch) -> None:
    finish(watched, tmp_path / "whole")
    sample = mz.Pipeline.sample

    def struck(self, n, labels=None, **more):
        if n == 64:  # a block, not a grid
            signal.raise_signal(signal.SIGTERM)
        return sample(self, n, labels, **more)

    monkeypatch.setattr(mz.Pipeline, "sample", struck)
    with pytest.raises(Interrupted):
        finish(watched, tmp_path / "run")
    assert curve(tmp_path / "run") == []
    monkeypatch.setattr(mz.Pipeline, "sample", sample)
    finish(watched, tmp_path / "run", resume=True)
    assert curve(tmp_path / "run") == curve(tmp_path / "whole")


def test_two_processes_measure_as_one_does(watched, tmp_path) -> None:
    still = replace(watched, net=replace(watched.net, dropout=0.0), evaluate_samples=70)
    finish(still, tmp_path / "one")
    log = tmp_path / "log"
    assert together(2, lambda rank: finish(still, tmp_path / "two"), log) == [0, 0]
    one, two = curve(tmp_path / "one"), curve(tmp_path / "two")
    assert [row[0] for row in two] == [4, 8, 12]
    # The weights of two processes differ from one's by rounding.
    assert [row[2] for row in two] == pytest.approx([row[2] for row in one], rel=0.02)
    assert_best(tmp_path / "two")
