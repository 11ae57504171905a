"""Whole trainings, and comparisons of two of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

import mezzotint as mz
from mezzotint.config.experiment import Experiment
from mezzotint.run import run
from mezzotint.storage import checkpoint
from mezzotint.storage.log import read


def finish(experiment: Experiment, folder: Path, resume: bool = False) -> None:
    for _ in run(experiment, folder, resume):
        pass


def cut_and_resume(experiment: Experiment, folder: Path, steps: int) -> None:
    """Train, cut off after ``steps`` steps as by a crash, and resume."""
    started = run(experiment, folder)
    for _ in range(1 + steps):
        next(started)
    started.close()
    finish(experiment, folder, resume=True)


def losses(folder: Path) -> list[tuple[int, float, float, float]]:
    rows = [row for row in read(folder / "log.jsonl") if "figure" not in row]
    return [(r["step"], r["loss"], r["grad_norm"], r["lr"]) for r in rows]


def assert_same(a: Path, b: Path) -> None:
    """Check that losses, weights, averages and moments are equal to the last bit."""
    assert losses(a) == losses(b)
    newest = [checkpoint.listed(folder / "checkpoints")[-1] for folder in (a, b)]
    assert newest[0].name == newest[1].name
    files = [{path.name for path in folder.glob("*.safetensors")} for folder in newest]
    assert files[0] == files[1] >= {"net.safetensors", "ema.safetensors", "optimizer.safetensors"}
    for name in files[0]:
        one, two = (load_file(folder / name) for folder in newest)
        assert one.keys() == two.keys()
        for key in one:
            assert torch.equal(one[key], two[key]), f"{name}: {key}"


def curve(folder: Path) -> list[tuple[int, str, float, int]]:
    rows = [row for row in read(folder / "log.jsonl") if "figure" in row]
    return [(r["step"], r["figure"]["name"], r["figure"]["value"], r["images"]) for r in rows]


def in_letters_and_numbers() -> tuple[mz.Prepared, mz.Prepared]:
    """Return one data set twice: its classes sorted letter by letter (1, 10, 2), and by number."""
    images = np.random.default_rng(0).integers(0, 256, (6, 5, 5, 3), np.uint8)
    then = mz.prepare(images, [0, 0, 1, 1, 2, 2], classes=("1", "10", "2"))
    rows = [0, 1, 4, 5, 2, 3]
    now = mz.prepare(images[rows], [0, 0, 1, 1, 2, 2], classes=("1", "2", "10"))
    return then, now
