"""The copy of a run's log in a tracker is complete and has no row twice, after any failure."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import mezzotint as mz
from mezzotint.config import recipes, to_json
from mezzotint.config.experiment import Experiment
from mezzotint.run import run, trackers
from mezzotint.run.trackers import Copy
from mezzotint.storage import jsonl
from mezzotint.storage.log import Log, read

from commands import call


class Memory:
    """A tracker that keeps its rows, except the last ``loses`` rows of each process."""

    def __init__(self, loses: int = 0) -> None:
        self.loses = loses
        self.begun: list[str] = []
        self.got: list[tuple[int, int, dict[str, Any]]] = []
        self.reports: list[Path | None] = []

    def begin(self, folder: Path, run_id: str, config: dict[str, Any], sent: int) -> int:
        assert config["version"]
        assert sent == len(self.got) + 1
        self.begun.append(run_id)
        self.got = self.got[: max(len(self.got) - self.loses, 0)]
        return len(self.got) + 1 if self.got else 0

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


def training(folder: Path, begin: int, end: int) -> Iterator[int]:
    """Yield the steps of a run of 100 images each, and write the files that `run` writes.

    Every second step has a row in the log. Every fourth step has a grid and a measurement. If the
    measurement at ``begin`` is missing, it is added.
    """

    def measure(step: int) -> None:
        figure = {"name": "fd", "value": 8.0 - step, "low": 1.0, "high": 9.0, "samples": 10}
        figure |= {"network": "glyphs", "note": ""}
        log.write({"step": step, "images": 100 * step, "figure": figure})

    yield begin
    (folder / "samples").mkdir(exist_ok=True)
    (folder / "config.json").write_text('{"version": 4}')
    log = Log(folder / "log.jsonl", begin)
    if begin and begin % 4 == 0 and "figure" not in read(log.path)[-1]:
        measure(begin)
        yield begin
    for step in range(begin + 1, end + 1):
        if step % 2 == 0:
            log.write({"step": step, "images": 100 * step, "loss": 1 / step})
        yield step
        if step % 4 == 0:
            Image.new("RGB", (2, 2)).save(folder / "samples" / f"{100 * step:09d}.png")
            yield step
            measure(step)
            yield step


def followed(folder: Path, begin: int, end: int, stop: int = 10**9) -> list[int]:
    """Follow a run in a process that is killed after ``stop`` of its steps."""
    steps = Copy(folder, "memory").follow(training(folder, begin, end))
    return [now for now, _ in zip(steps, range(stop), strict=False)]


def test_all_of_the_record_is_sent_in_its_order(tmp_path: Path, memory: Memory) -> None:
    told = followed(tmp_path, 0, 10)
    assert told == [0, 1, 2, 3, 4, 4, 4, 5, 6, 7, 8, 8, 8, 9, 10]
    assert memory.curve("loss") == [(100 * step, 1 / step) for step in (2, 4, 6, 8, 10)]
    assert memory.curve("fd") == [(400, 4.0), (800, 0.0)]
    assert memory.curve("fd_low") == [(400, 1.0), (800, 1.0)]
    grids = tmp_path / "samples"
    assert memory.curve("samples") == [(n, grids / f"{n:09d}.png") for n in (400, 800)]
    assert [number for number, _, _ in memory.got] == list(range(1, 10))
    assert [images for _, images, _ in memory.got] == [200, 400, 400, 400, 600, 800, 800, 800, 1000]
    assert memory.reports == [None]


def test_it_is_sent_as_soon_as_it_is_there(tmp_path: Path, memory: Memory) -> None:
    for step in Copy(tmp_path, "memory").follow(training(tmp_path, 0, 10)):
        assert len(memory.curve("loss")) == step // 2


@pytest.mark.parametrize("until", range(2, 16))
@pytest.mark.parametrize("back", [0, 2, 4])
@pytest.mark.parametrize("loses", [0, 1, 3, 100])
def test_a_resume_sends_nothing_twice_and_what_the_crash_kept(
    tmp_path: Path, memory: Memory, until: int, back: int, loses: int
) -> None:
    """The first process is followed, the second is not, and the third is followed again.

    Each resumes some steps back. The tracker may also have lost its last rows.
    """
    memory.loses = loses
    at = max(0, followed(tmp_path, 0, 10, until)[-1] - back)
    for _ in training(tmp_path, at, at + 2):
        pass
    followed(tmp_path, at, 12)
    assert memory.curve("loss") == [(100 * step, 1 / step) for step in (2, 4, 6, 8, 10, 12)]
    assert [images for images, _ in memory.curve("fd")] == [400, 800, 1200]
    assert [images for images, _ in memory.curve("samples")] == [400, 800, 1200]
    assert [number for number, _, _ in memory.got] == list(range(1, 13))
    assert len(memory.begun) == 2
    assert len(set(memory.begun)) == 1


def test_a_finished_run_can_be_sent_later_with_its_report(tmp_path: Path, memory: Memory) -> None:
    list(training(tmp_path, 0, 4))
    (tmp_path / "report.html").write_text("<p>")
    followed(tmp_path, 4, 4)
    assert memory.curve("loss") == [(200, 0.5), (400, 0.25)]
    assert memory.reports == [tmp_path / "report.html"]


def test_a_run_that_cannot_be_is_not_tracked(tiny: Experiment, trained: Path, memory: Memory):
    with pytest.raises(mz.UserError, match="already holds a run"):
        next(Copy(trained, "memory").follow(run(tiny, trained)))
    assert not memory.begun


@pytest.mark.parametrize("broken", ["begin", "log", "end"])
def test_a_tracker_that_fails_is_off_and_the_training_goes_on(
    tmp_path: Path, memory: Memory, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fail(*_: object) -> bool:
        calls.append(broken)
        raise ConnectionError("the line\nis dead")

    calls: list[str] = []
    monkeypatch.setattr(memory, broken, fail)
    with pytest.warns(UserWarning, match=r"is now off \(the line is dead\)") as said:
        assert followed(tmp_path, 0, 4) == [0, 1, 2, 3, 4, 4, 4]
    assert len(said) == len(calls) == 1


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
    """The part of the module `wandb` that the tracker uses, with a record of the calls."""

    def __init__(self, login: bool | Exception) -> None:
        self.may = login
        self.inits: list[dict[str, Any]] = []
        self.rows: list[tuple[int, dict[str, Any]]] = []
        self.artifacts: list[list[str]] = []
        self.finished = 0
        self.Settings, self.Image = SimpleNamespace, lambda path: ("image", path)
        self.__spec__ = ModuleSpec("wandb", None)  # which accelerate looks at

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
        online = wish["mode"] == "online"
        self.starting_step = self.rows[-1][0] + 1 if online and self.rows else 0
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
    assert (code, out) == (0, f"the trained model is in {folder}\n"), said
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
    assert first["config"] == to_json(tiny)
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
    tiny: Experiment, trained: Path, capsys, monkeypatch, login: bool | Exception, why: str
) -> None:
    account, folder = Account(login), trained
    monkeypatch.setitem(sys.modules, "wandb", account)
    monkeypatch.setitem(recipes.RECIPES, "tiny", tiny)
    with pytest.warns(UserWarning, match=r"W&B works offline") as said:
        train(capsys, folder, "--track", "wandb", "--resume")
    assert len(said) == 1
    assert f"({why}): to send the run later, use `wandb sync {folder}/wandb/" in str(
        said[0].message
    )
    sent, account.rows = account.rows, []
    with pytest.warns(UserWarning, match=r"W&B works offline"):
        train(capsys, folder, "--track", "wandb", "--resume")
    assert account.rows == sent
    assert account.inits[1]["mode"] == "offline"
    assert account.inits[0]["id"] == account.inits[1]["id"]
    assert len(list((folder / "wandb").iterdir())) == 1


def records(path: Path) -> Iterator[Any]:
    """Return the records of a W&B file: a LevelDB log of messages after a header of 7 bytes."""
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
    with pytest.warns(UserWarning, match="W&B works offline"):
        list(Copy(trained, "wandb").follow(run(tiny, trained, resume=True)))
    known = jsonl.read(trained / "wandb.jsonl")[0]["id"]
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


def test_what_tensorboard_shows(tiny, trained, capsys, monkeypatch) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = trained
    monkeypatch.setitem(recipes.RECIPES, "tiny", tiny)
    train(capsys, folder, "--track", "tensorboard", "--resume")
    train(capsys, folder, "--track", "tensorboard", "--resume", "--images", "120")
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    shown = [(event.step, event.value) for event in events.Scalars("loss")]
    rows = read(folder / "log.jsonl")
    assert shown == [(row["images"], np.float32(row["loss"])) for row in rows]
    assert [event.step for event in events.Images("samples")] == [96, 120]
    picture = events.Images("samples")[-1]
    with Image.open(folder / "samples" / "000000120.png") as grid:
        assert (picture.width, picture.height) == grid.size
