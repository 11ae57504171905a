"""The command that repeats a training, read back by the command line itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import mezzotint as mz
from mezzotint.cli.flags import parse
from mezzotint.cli.train import TrainFlags
from mezzotint.config import changed
from mezzotint.config.command import command
from mezzotint.config.experiment import Experiment
from mezzotint.config.recipes import RECIPES
from mezzotint.networks.record import CustomConfig
from mezzotint.trainer.distilling.config import DistillationConfig

RECIPE: Any = RECIPES["cifar10-cpu"]


def test_only_what_changes_the_model_is_given() -> None:
    assert command(RECIPE) == "mezzotint train cifar10-cpu"
    fields = {"images": 1_500_000, "warmup": 12_800, "ema_halflife": 30_000.0, "log_every": 7}
    shorter = changed(RECIPE, fields)  # the warm-up and the half-life are shortened by themselves
    assert command(shorter) == "mezzotint train cifar10-cpu --images 1500000"


def test_a_command_is_read_back() -> None:
    fields = {"data": "pets", "size": [48, 80], "flip": False, "condition": ["age", "weight"]}
    fields |= {"channels": [32, 64], "head_width": 16, "lr": 4e-4, "warmup": 5}
    config: Experiment = changed(RECIPE, fields)
    data = replace(config.data, data="/home/me/secret/pets")
    said = command(replace(config, data=data, keep=7))
    assert "secret" not in said
    flags = parse(TrainFlags(RECIPE, Path("out")), said.split()[3:], "mezzotint train")
    assert flags.experiment == config


def test_the_command_of_a_student_names_its_teacher() -> None:
    objective = DistillationConfig("/home/me/secret/teacher", "trajectory", scale=2.5)
    sample = mz.SampleConfig("consistency", steps=2, spacing="angle")
    said = command(replace(RECIPE, objective=objective, sample=sample))
    start = "mezzotint distil teacher --data cifar10 --flip --clipping static --precision auto "
    start += "--method trajectory --calls 2 --scale 2.5 --guided-within None "
    start += "--images 3000000 --batch 128 --lr 0.001 "
    assert said.startswith(start)
    assert "secret" not in said
    fields = {"flip": False, "precision": "bf16", "dropout": 0.1, "mode": "grey"}
    fields |= {"freeze": ["down.*"], "guided_within": [0.1, 3.0]}
    said = command(changed(replace(RECIPE, objective=objective, sample=sample), fields))
    flags = ("--no-flip", "--precision bf16", "--dropout 0.1", "--mode grey", "--freeze 'down.*'")
    for flag in (*flags, "--guided-within 0.1 3.0"):
        assert flag in said


def test_another_dropout_than_the_recipes_is_given_with_init() -> None:
    assert "dropout" not in command(replace(RECIPE, init="cifar10"))
    assert "--dropout 0.3" in command(changed(replace(RECIPE, init="cifar10"), {"dropout": 0.3}))


@pytest.mark.parametrize(
    "config",
    [
        replace(RECIPE, net=CustomConfig("mine:Net")),
        replace(RECIPE, recipe="mine"),
        changed(RECIPE, {"data": "array:1234"}),
    ],
)
def test_what_began_in_python_has_no_command(config: Experiment) -> None:
    assert command(config) == ""
