"""A run's record copied to a tracker: all of it, once, whatever happens to either."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_cli import call

import mezzotint as mz
from mezzotint import recipes
from mezzotint.experiment import Experiment
from mezzotint.run import run, trackers
from mezzotint.run.trackers import Copy
from mezzotint.training.track import read

CURVES = {"step", "loss", "grad_norm", "lr", "images_per_second"}


class Memory:
    """A tracker that keeps what it is told, from one process to the next or not."""

    def __init__(self, keeps: bool = True) -> None:
        self.keeps = keeps
        self.begun: list[str] = []
        self.got: list[tuple[int, int, dict[str, Any]]] = []
        self.reports: list[Path | None] = []

    def begin(self, folder: Path, run_id: str, config: dict[str, Any]) -> bool:
        assert config["version"]
        self.begun.append(run_id)
        return self.keeps

    def log(self, number: int, images: int, values: dict[str, Any]) -> None:
        self.got.append((number, images, values))

    def end(self, report: Path | None) -> None:
        self.reports.append(report)

    def curve(self, name: str) -> list[tuple[int, Any]]:
        return [(images, values[name]) for _, images, values in self.got if name in values]


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    memory = Memory()
    monkeypatch.setitem(trackers.TRACKERS, "memory", lambda: memory)
    return memory


def followed(experiment: Experiment, folder: Path, resume: bool = False) -> Iterator[object]:
    return Copy(folder, "memory").follow(run(experiment, folder, resume))


def test_all_of_the_record_is_sent(tiny: Experiment, tmp_path: Path, memory: Memory) -> None:
    measured = replace(tiny, sample_every=48, evaluate_every=48, evaluate_samples=10)
    told = list(followed(measured, tmp_path / "run"))
    rows = read(tmp_path / "run" / "log.jsonl")
    losses = [row for row in rows if "loss" in row]
    assert memory.curve("loss") == [(row["images"], row["loss"]) for row in losses]
    assert all(values.keys() == CURVES for _, _, values in memory.got if "loss" in values)
    figures = [(row["images"], row["figure"]) for row in rows if "figure" in row]
    assert len(figures) == 2
    for end, key in (("", "value"), ("_low", "low"), ("_high", "high")):
        name = figures[0][1]["name"] + end
        assert memory.curve(name) == [(images, figure[key]) for images, figure in figures]
    grids = [(n, tmp_path / "run" / "samples" / f"{n:09d}.png") for n in (48, 96)]
    assert memory.curve("samples") == grids
    assert [number for number, _, _ in memory.got] == list(range(len(memory.got)))
    assert memory.reports == [None]
    assert len(told) == len(list(run(measured, tmp_path / "other")))


def test_it_is_sent_as_soon_as_it_is_there(tiny, tmp_path, memory) -> None:
    steps = followed(tiny, tmp_path / "run")
    for _ in range(1 + 3):
        next(steps)
    assert [images for images, _ in memory.curve("loss")] == [24]
    steps.close()
    assert memory.reports == [None]


@pytest.mark.parametrize("steps", [5, 7, 11])
def test_a_resume_sends_nothing_twice_and_what_the_crash_kept(
    tiny: Experiment, tmp_path: Path, memory: Memory, steps: int
) -> None:
    """The first process is tracked, then one is not, then again: both resume from before."""
    started = followed(tiny, tmp_path / "run")
    for _ in range(1 + steps):
        next(started)
    started.close()
    untracked = run(tiny, tmp_path / "run", resume=True)
    for _ in range(1 + 4 if steps < 8 else 1):
        next(untracked)
    untracked.close()
    list(followed(tiny, tmp_path / "run", resume=True))
    rows = read(tmp_path / "run" / "log.jsonl")
    assert memory.curve("loss") == [(row["images"], row["loss"]) for row in rows]
    assert [number for number, _, _ in memory.got] == list(range(len(memory.got)))
    assert len(memory.curve("samples")) == 1
    assert len(memory.begun) == 2
    assert len(set(memory.begun)) == 1


def test_a_copy_that_begins_anew_gets_the_whole_record(tiny, tmp_path, monkeypatch) -> None:
    first, second = Memory(keeps=False), Memory(keeps=False)
    monkeypatch.setitem(trackers.TRACKERS, "memory", lambda: first)
    started = followed(tiny, tmp_path / "run")
    for _ in range(1 + 7):
        next(started)
    started.close()
    monkeypatch.setitem(trackers.TRACKERS, "memory", lambda: second)
    list(followed(tiny, tmp_path / "run", resume=True))
    assert [images for images, _ in first.curve("loss")] == [24, 48]
    assert [images for images, _ in second.curve("loss")] == [24, 48, 72, 96]
    assert second.got[0][0] == 0
    assert first.begun == second.begun


def test_a_finished_run_can_be_sent_later_with_its_report(tiny, trained, memory) -> None:
    (trained / "report.html").write_text("<p>")
    list(followed(tiny, trained, resume=True))
    assert [images for images, _ in memory.curve("loss")] == [24, 48, 72, 96]
    assert memory.reports == [trained / "report.html"]


def test_a_run_that_cannot_be_is_not_tracked(tiny, trained, memory) -> None:
    with pytest.raises(mz.UserError, match="holds a run already"):
        list(followed(tiny, trained))
    assert not memory.begun


@pytest.mark.parametrize("broken", ["begin", "log", "end"])
def test_a_tracker_that_fails_is_off_and_the_training_goes_on(
    tiny: Experiment, tmp_path: Path, memory: Memory, monkeypatch, broken: str
) -> None:
    def fail(*_: object) -> bool:
        calls.append(broken)
        raise ConnectionError("the line\nis dead")

    calls: list[str] = []
    monkeypatch.setattr(memory, broken, fail)
    with pytest.warns(UserWarning, match=r"is off \(the line is dead\)") as said:
        list(followed(tiny, tmp_path / "run"))
    assert len(said) == len(calls) == 1
    assert [row["step"] for row in read(tmp_path / "run" / "log.jsonl")] == [3, 6, 9, 12]


@pytest.mark.parametrize(("name", "module"), [("wandb", "wandb"), ("tensorboard", "tensorboard")])
def test_a_missing_package_is_said_before_anything_begins(
    tmp_path: Path, capsys, monkeypatch, name: str, module: str
) -> None:
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    out = tmp_path / "run"
    code, _, said = call(capsys, "train", "glyphs-ddpm", "--out", str(out), "--track", name)
    assert code == 2
    assert said.splitlines() == [
        f"mezzotint: tracking with {name} needs its package: run pip install 'mezzotint[{name}]'"
    ]
    assert not out.exists()


class Account:
    """What the tracker uses of the module `wandb`, and what it did with it."""

    def __init__(self, login: bool | Exception) -> None:
        self.may = login
        self.inits: list[dict[str, Any]] = []
        self.rows: list[tuple[int, dict[str, Any]]] = []
        self.artifacts: list[list[str]] = []
        self.finished = 0
        self.Settings, self.Image = SimpleNamespace, lambda path: ("image", path)

    def setup(self, settings: SimpleNamespace) -> None:
        assert settings.silent

    def login(self, prompt: bool) -> bool:
        assert not prompt
        if isinstance(self.may, Exception):
            raise self.may
        return self.may

    def init(self, **wish: Any) -> Account:
        self.inits.append(wish)
        self.id, self.config = wish["id"], self
        (Path(wish["dir"]) / "wandb" / f"offline-run-2_{len(self.inits)}-{self.id}").mkdir(
            parents=True
        )
        return self

    def update(self, config: dict[str, Any], allow_val_change: bool) -> None:
        assert allow_val_change
        self.inits[-1]["config"] = config

    def define_metric(self, name: str, step_metric: str) -> None:
        assert (name, step_metric) == ("*", "images")

    def log(self, row: dict[str, Any], step: int) -> None:
        self.rows.append((step, row))

    def Artifact(self, name: str, type: str) -> SimpleNamespace:
        files: list[str] = []
        return SimpleNamespace(files=files, add_file=files.append)

    def log_artifact(self, artifact: SimpleNamespace) -> None:
        self.artifacts.append(artifact.files)

    def finish(self) -> None:
        self.finished += 1


def train(capsys, folder: Path, *more: str) -> str:
    code, out, said = call(capsys, "train", "tiny", "--out", str(folder), *more)
    assert (code, out) == (0, f"trained: {folder}\n"), said
    return said


def test_weights_and_biases_goes_on_with_a_run(tiny, tmp_path, capsys, monkeypatch) -> None:
    account, folder = Account(login=True), tmp_path / "run"
    monkeypatch.setitem(sys.modules, "wandb", account)
    monkeypatch.setitem(recipes.RECIPES, "tiny", tiny)
    assert "W&B" not in train(capsys, folder, "--track", "wandb")
    (folder / "report.html").write_text("<p>")
    train(capsys, folder, "--track", "wandb", "--resume", "--images", "128")
    first, second = account.inits
    assert first["id"] == second["id"]
    assert (first["mode"], first["resume"], first["dir"]) == ("online", "allow", str(folder))
    assert first["config"] == mz.experiment.to_json(tiny)
    assert second["config"]["train"]["images"] == 128
    steps = [step for step, _ in account.rows]
    assert steps == sorted(set(steps))
    assert [row["images"] for _, row in account.rows if "loss" in row] == [24, 48, 72, 96, 120, 128]
    grids = [row["samples"] for _, row in account.rows if "samples" in row]
    assert grids == [("image", str(folder / "samples" / f"{n:09d}.png")) for n in (96, 128)]
    assert account.artifacts == [[str(folder / "report.html")]]
    assert account.finished == 2


@pytest.mark.parametrize(
    ("login", "why"), [(False, "no login"), (ConnectionError("no such host"), "no such host")]
)
def test_without_an_account_it_is_offline_and_one_part_is_the_whole(
    tiny: Experiment, tmp_path: Path, capsys, monkeypatch, login: bool | Exception, why: str
) -> None:
    account, folder = Account(login), tmp_path / "run"
    monkeypatch.setitem(sys.modules, "wandb", account)
    monkeypatch.setitem(recipes.RECIPES, "tiny", tiny)
    said = train(capsys, folder, "--track", "wandb")
    assert said.count("W&B is used offline") == 1
    assert f"({why}): send the run with `wandb sync {folder}/wandb/offline-run-*" in said
    sent, account.rows = account.rows, []
    train(capsys, folder, "--track", "wandb", "--resume")
    assert account.rows == sent
    assert account.inits[1]["mode"] == "offline"
    assert account.inits[0]["id"] == account.inits[1]["id"]
    assert len(list((folder / "wandb").iterdir())) == 1


def records(path: Path) -> Iterator[Any]:
    """The records of a W&B file: a LevelDB log of messages behind a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, message = path.read_bytes(), 7, b""
    while len(data) - at >= 7:
        if 32768 - at % 32768 < 7:  # the rest of a block that no head fits into
            at += 32768 - at % 32768
        _, length, kind = struct.unpack_from("<IHB", data, at)
        message += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or a message's last part
            yield Record.FromString(message)
            message = b""


def test_what_weights_and_biases_records_offline(tiny, trained, monkeypatch) -> None:
    pytest.importorskip("wandb")
    for name in ("MODE", "API_KEY", "PROJECT"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    for name in ("CACHE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(trained.parent))
    monkeypatch.setenv("NETRC", str(trained.parent / "nothing"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    (trained / "report.html").write_text("<p>")
    with pytest.warns(UserWarning, match="W&B is used offline"):
        list(Copy(trained, "wandb").follow(run(tiny, trained, resume=True)))
    known = json.loads((trained / "tracker.json").read_text())["wandb"]["id"]
    (file,) = (trained / "wandb").glob("offline-run-*/*.wandb")
    assert file.name == f"run-{known}.wandb"
    found = list(records(file))
    assert {r.run.run_id for r in found if r.HasField("run")} == {known}
    config = {item.key or item.nested_key[0] for r in found for item in r.config.update}
    config |= {item.key for r in found for item in r.run.config.update}
    assert {"recipe", "train", "net", "noise"} <= config
    history = [
        {(i.key or "/".join(i.nested_key)): json.loads(i.value_json) for i in r.history.item}
        for r in found
        if r.HasField("history")
    ]
    losses = [(row["images"], row["loss"]) for row in history if "loss" in row]
    assert losses == [(r["images"], r["loss"]) for r in read(trained / "log.jsonl")]
    (grid,) = (trained / "wandb").glob("offline-run-*/files/media/images/*.png")
    assert grid.read_bytes() == (trained / "samples" / "000000096.png").read_bytes()
    assert any(r.artifact.type == "report" for r in found) or any(
        r.request.log_artifact.artifact.type == "report" for r in found
    )


def test_what_tensorboard_shows(tiny, tmp_path, capsys, monkeypatch) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path / "run"
    monkeypatch.setitem(recipes.RECIPES, "tiny", tiny)
    train(capsys, folder, "--track", "tensorboard", "--images", "64")
    train(capsys, folder, "--track", "tensorboard", "--resume")
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    shown = [(event.step, event.value) for event in events.Scalars("loss")]
    rows = read(folder / "log.jsonl")
    assert shown == [(row["images"], np.float32(row["loss"])) for row in rows]
    assert [event.step for event in events.Images("samples")] == [64, 96]
    picture = events.Images("samples")[-1]
    with Image.open(folder / "samples" / "000000096.png") as grid:
        assert (picture.width, picture.height) == grid.size
