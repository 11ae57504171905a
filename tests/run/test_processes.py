"""Several processes share a training; it is resumed, killed, and continued by more or fewer."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mezzotint as mz
from mezzotint.config.experiment import Experiment
from mezzotint.data import encoding
from mezzotint.data.encoding import Encoding, Part
from mezzotint.run import run
from mezzotint.storage import checkpoint
from mezzotint.storage.log import read
from together import together

from trainings import assert_same, losses


def trained(tiny: Experiment, folder: Path, count: int) -> list[int]:
    """Begin or resume a training in several processes, and return how they ended."""

    def work(rank: int) -> None:
        for _ in run(tiny, folder, resume=True):
            pass

    return together(count, work, folder.with_suffix(".log"))


def killed(tiny: Experiment, folder: Path, count: int, victims: set[int], number: int) -> list[int]:
    """Send some processes a signal after the fifth step, and return how all of them ended."""

    def work(rank: int) -> None:
        for now in run(tiny, folder):
            if now.images == 40 and rank in victims:
                os.kill(os.getpid(), number)

    return together(count, work, folder.with_suffix(".log"))


def step(folder: Path) -> str:
    return checkpoint.listed(folder / "checkpoints")[-1].name


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_a_training_killed_and_resumed_ends_in_the_same_bits(tiny, tmp_path, count: int) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert trained(tiny, whole, count) == [0] * count
    assert killed(tiny, parts, count, {*range(count)}, signal.SIGKILL) == [-9] * count
    assert step(parts) == "step-4"
    assert trained(tiny, parts, count) == [0] * count
    assert_same(whole, parts)


@pytest.mark.parametrize("victim", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_where_one_dies_the_others_save_the_step_and_end(tiny, tmp_path, victim: int) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    codes = killed(tiny, parts, 2, {victim}, signal.SIGKILL)
    assert codes == [-9 if rank == victim else 2 for rank in (0, 1)]
    log = parts.with_suffix(".log").read_text()
    assert log == (
        f"{1 - victim}: another of the processes has died; step 5 is saved: continue with "
        "`resume=True`\n"
    )
    assert step(parts) == "step-5"
    assert trained(tiny, parts, 2) == [0, 0]
    assert trained(tiny, whole, 2) == [0, 0]
    assert_same(whole, parts)


@pytest.mark.slow
def test_a_signal_to_one_saves_for_all(tiny, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert killed(tiny, folder, 2, {1}, signal.SIGTERM) == [143, 143]
    assert step(folder) in ("step-5", "step-6")


@pytest.mark.slow
def test_another_number_of_processes_is_said_and_close(tiny, tmp_path: Path) -> None:
    still = replace(tiny, net=replace(tiny.net, dropout=0.0))  # whose masks would be others
    folder, whole = tmp_path / "run", tmp_path / "whole"
    killed(still, folder, 2, {0, 1}, signal.SIGTERM)
    first, *_ = mz.training(out=folder, resume=True)
    assert "changed: processes 2 -> 1 (the result will not be bit-identical: " in first.note
    for _ in run(still, whole):
        pass
    np.testing.assert_allclose(losses(folder), losses(whole), rtol=1e-4)
    assert [row["step"] for row in read(folder / "log.jsonl")] == [3, 6, 9, 12]


def test_processes_train_twice(tiny, tmp_path: Path) -> None:
    def work(rank: int) -> None:
        for name in ("one", "two"):
            mz.train(tiny, out=tmp_path / name, progress=False)

    assert together(2, work, tmp_path / "log") == [0, 0]
    assert_same(tmp_path / "one", tmp_path / "two")


def test_processes_encode_the_data_together(tiny_ldm, tmp_path, monkeypatch) -> None:
    """Each encodes a half. Data that does not fit the autoencoder is refused by all."""
    monkeypatch.setattr(encoding, "PART", 50)
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "cache"))
    encode, log = Encoding.encode, tmp_path / "encoded"

    def noted(work: Encoding, start: int) -> Part:
        with log.open("a") as file:
            file.write(f"{os.environ['RANK']}:{start} ")
        return encode(work, start)

    monkeypatch.setattr(Encoding, "encode", noted)
    assert trained(tiny_ldm, tmp_path / "run", 2) == [0, 0]
    assert sorted(log.read_text().split()) == ["0:0", "1:50"]
    grey = replace(tiny_ldm, data=replace(tiny_ldm.data, mode="grey"))
    assert trained(grey, tmp_path / "grey", 2) == [2, 2]
