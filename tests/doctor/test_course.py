"""The doctor's findings about the progress of a training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import mezzotint as mz
from mezzotint.config.experiment import Experiment
from mezzotint.doctor import Finding, course, examine
from mezzotint.trainer.loop import TrainConfig
from spoil import accused, rows

WHOLE = TrainConfig(images=20_000, batch=10, warmup=1_000, lr=1e-3)


@pytest.mark.parametrize(
    ("warmup", "images", "severity"),
    [(1_000, 20_000, "well"), (3_000, 20_000, "doubtful"), (2_000, 2_000, "well"), (0, 10, "well")],
)
def test_a_warm_up_that_the_training_has_not_left(warmup: int, images: int, severity: str) -> None:
    """The log ends after 2,000 images."""
    train = replace(WHOLE, warmup=warmup, images=images)
    assert course.warmed_up(rows([0.1] * 20), train).severity == severity


def test_a_warm_up_longer_than_the_training_is_wrong() -> None:
    found = course.warmed_up(rows([0.1] * 20), replace(WHOLE, warmup=640_000, images=2_000))
    assert found.severity == "wrong"
    assert "risen to 0% of 0.001; expected 100%, after 640,000 images" in found.measured
    assert "`warmup=100`" in found.fix


@pytest.mark.parametrize(("images", "severity"), [(9_990, "doubtful"), (10_000, "well")])
def test_a_thousand_steps_are_the_least(images: int, severity: str) -> None:
    found = course.long_enough(replace(WHOLE, images=images))
    assert found.severity == severity
    assert "999 steps" in found.measured or severity == "well"


def test_one_step_is_not_called_steps() -> None:
    assert "has 1 step;" in course.long_enough(replace(WHOLE, images=10)).measured


def test_a_model_without_its_datas_classes_is_named(tiny: Experiment) -> None:
    images = np.zeros((4, 8, 8, 3), np.uint8)
    data = mz.prepare(images, np.arange(4) % 2)
    blind = replace(tiny, data=replace(tiny.data, conditional=False))
    found = course.conditional(blind, data)
    assert found.severity == "doubtful"
    assert found.measured == (
        "the data has 2 classes, and the network is unconditional, and the guidance 2 is not "
        "applied"
    )
    assert course.conditional(tiny, data).severity == "well"
    assert course.conditional(blind, mz.prepare(images)).severity == "well"


def test_what_follows_from_a_short_training_says_so_and_nothing_else() -> None:
    short = Finding("doubtful", "too short a training", "12 steps", "few images", "go on")
    grey = Finding("wrong", "grey samples", "grey", "a cause", "a fix")
    other = Finding("wrong", "damaged checkpoint", "damaged", "a cause", "a fix")
    found = list(course.ordered(iter([short, grey, other])))
    assert found[0] == short
    assert found[1].cause == "most likely too short a training, as above; else a cause"
    assert found[1].fix == "go on; else a fix"
    assert found[2] == other
    assert list(course.ordered(iter([grey, short]))) == [grey, short]


def test_a_run_of_twelve_steps_is_short_before_it_is_anything_else(trained) -> None:
    found = [f for f in examine(trained, 20) if f.severity != "well"]
    assert found[0].title == "too short a training"
    assert "warm-up never ended" not in accused(found)
