"""Runs after accidents: links, leftovers, edits, foreign weights and full disks."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import mezzotint as mz
from mezzotint import config as configuration
from mezzotint.config import recipes
from mezzotint.errors import Damaged
from mezzotint.pages import history, measurements
from mezzotint.pages.runs import read as read_run
from mezzotint.pipeline.codecs import facts
from mezzotint.run import Interrupted, run, trackers
from mezzotint.run.stop import Stop
from mezzotint.storage import checkpoint
from mezzotint.storage.files import Unwritable, write_text
from mezzotint.storage.log import read
from spoil import newest, seal, spoil

from commands import CapSys, call
from trainings import assert_same, finish


def content(folder: Path) -> dict[str, bytes | str]:
    """Return every file and link of a folder, except the lock."""
    found = (path for path in folder.rglob("*") if path.name != ".lock")
    return {
        str(path): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in found
        if path.is_symlink() or path.is_file()
    }


def resumed(folder: Path, **fields: Any) -> str:
    """Return the first note of a training that resumes in a folder."""
    steps = mz.training(out=folder, resume=True, **fields)
    note = next(iter(steps)).note
    steps.close()  # type: ignore[attr-defined]
    return note


# b: checkpoints that are out of reach.


def unlink(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")


def link(run: Path) -> None:
    unlink(run)
    (run / "checkpoints").symlink_to(run.parent / "unmounted")


def empty(run: Path) -> None:
    unlink(run)
    (run / "checkpoints").mkdir()


def link_without_log(run: Path) -> None:
    link(run)
    (run / "log.jsonl").unlink()


@pytest.mark.parametrize("lose", [unlink, link, empty, link_without_log])
def test_a_run_whose_checkpoints_are_out_of_reach_is_left_alone(
    trained: Path, capsys: CapSys, lose: Callable[[Path], None]
) -> None:
    lose(trained)
    before = content(trained)
    code, _, err = call(capsys, "train", "--resume", str(trained))
    assert (code, err.count("\n")) == (2, 1)
    assert "checkpoints" in err
    linked = (trained / "checkpoints").is_symlink()
    assert ("restore the folder" if linked else "restore it") in err
    assert content(trained) == before


# c: grids that a kill left empty.


def test_an_empty_grid_is_left_out_by_name_and_drawn_again(trained: Path) -> None:
    grid = trained / "samples" / "000000096.png"
    grid.write_bytes(b"")
    (trained / "samples" / "000000048.png").write_bytes(b"\x89PNG\r\n")
    shown = history.grids(read_run(trained, "run"))
    assert shown
    assert shown.text.endswith("because it cannot be read: 000000048.png, 000000096.png.")
    mz.train(out=trained, resume=True)
    with Image.open(grid) as image:
        image.load()


def test_a_grid_is_there_whole_or_not_at_all(tiny, tmp_path, monkeypatch) -> None:
    def cut(self: Image.Image, path: Path, *_: object, **__: object) -> None:
        path.write_bytes(b"\x89PNG")
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", cut)
    with pytest.raises(KeyboardInterrupt):
        finish(tiny, tmp_path / "run")
    assert not list((tmp_path / "run" / "samples").iterdir())


# f: an edited config.json.


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [("noise", "prediction", "eps"), ("train", "seed", 7), ("train", "batch", 4)],
)
def test_an_edited_config_is_compared_with_the_checkpoints(
    trained: Path, section: str, field: str, value: object
) -> None:
    config = json.loads((trained / "config.json").read_text())
    config[section][field] = value
    (trained / "config.json").write_text(json.dumps(config))
    with pytest.raises(mz.UserError, match=f"was begun with `{field}="):
        resumed(trained)


# g, j: checkpoints whose sums are right and whose content is not.


def cast(kind: torch.dtype) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda tensors: {k: v.to(kind) for k, v in tensors.items()}


def fewer(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return dict(list(tensors.items())[1:])


def more(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**tensors, "more": torch.zeros(1)}


def longer(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    name = next(k for k, v in tensors.items() if v.ndim)
    return {**tensors, name: torch.cat([tensors[name]] * 2)}


def nan(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    name = next(k for k, v in tensors.items() if v.ndim)
    return {**tensors, name: tensors[name] * float("nan")}


FOREIGN = [
    ("net", fewer),
    ("net", nan),
    ("ema", more),
    ("ema", longer),
    ("optimizer", fewer),
    ("optimizer", longer),
    ("optimizer", cast(torch.int32)),
]


@pytest.mark.parametrize(("name", "change"), FOREIGN)
def test_foreign_tensors_are_passed_over(trained: Path, name: str, change: Any) -> None:
    spoil(trained, name, change)
    with pytest.warns(UserWarning, match=r"step-12.*; using step-8 instead"):
        assert "resumed from" in resumed(trained)
    if name == "ema":
        with pytest.warns(UserWarning, match=r"step-12.*; using step-8 instead"):
            mz.load(trained)


def test_what_goes_on_from_the_one_before_ends_in_the_same_bits(
    trained: Path, tiny, tmp_path: Path
) -> None:
    whole = Path(shutil.copytree(trained, tmp_path / "whole"))
    spoil(trained, "net", fewer)
    with pytest.warns(UserWarning, match="using step-8 instead"):
        finish(tiny, trained, resume=True)
    assert_same(whole, trained)


STATES: dict[str, list[object]] = {
    "step": [None, "12", -1, 12.5],
    "pending": [None, 3, [1], [{"loss": "low"}]],
    "shape": [None, 3, [3, 16], [3, "16", 16], [0, 16, 16]],
    "classes": [None, 3, [1, 2]],
    "codec": [3, {"kind": "kl"}, {"kind": 1, "config": {}}],
    "colour": [3, {"mean": "grey"}],
    "data": [3, ["a"]],
    "training_images": [None, 0, "5"],
}


@pytest.mark.parametrize("name", STATES)
def test_wrong_facts_are_damage(trained: Path, name: str) -> None:
    file = newest(trained) / "state.json"
    whole = json.loads(file.read_text())
    for value in STATES[name]:
        file.write_text(json.dumps({**whole, name: value}))
        with pytest.raises(Damaged, match=f'"{name}" in state.json is'):
            facts(newest(trained), name)


def test_a_step_that_is_not_the_folders_is_passed_over(trained: Path) -> None:
    file = newest(trained) / "state.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "step": 8}))
    seal(newest(trained))
    with pytest.warns(
        UserWarning, match="step-12 is damaged: its state.json has the step 8; using"
    ):
        resumed(trained)


@pytest.mark.parametrize("text", [100_000 * "[", 100_000 * '{"a":', "[]", "\xff", "", '"a"'])
def test_json_that_is_none_or_nested_deeply_is_damage(tmp_path: Path, text: str) -> None:
    for name in ("config.json", "state.json"):
        (tmp_path / name).write_text(text, encoding="latin-1")
    with pytest.raises(Damaged, match="is not a configuration"):
        configuration.read(tmp_path / "config.json")
    with pytest.raises(Damaged, match="is missing or is not a JSON object"):
        facts(tmp_path)


def test_a_tensor_file_that_is_none_is_passed_over(trained: Path) -> None:
    (newest(trained) / "ema.safetensors").write_bytes(b"\xff" * 100)
    seal(newest(trained))
    for use in (resumed, mz.load):
        with pytest.warns(UserWarning, match="ema.safetensors cannot be read"):
            use(trained)


def test_deeply_nested_json_beside_the_checkpoints_is_no_traceback(trained: Path) -> None:
    deep = 100_000 * "["
    (trained / "evaluation").mkdir()
    for name in ("recommended.json", "log.jsonl", "evaluation/figures.jsonl"):
        (trained / name).write_text(deep)
    with pytest.warns(UserWarning, match=r"recommended.json is ignored"):
        mz.load(trained)
    shown = read_run(trained, "run")
    assert shown.log == []
    assert measurements.figures(shown) is None
    (trained / "config.json").write_text(deep)
    with pytest.raises(mz.UserError, match=r"config.json is not a configuration"):
        read_run(trained, "run")


def test_a_manifest_that_names_too_little_is_passed_over(trained: Path) -> None:
    manifest = newest(trained) / "manifest.json"
    sums = json.loads(manifest.read_text())["sha256"]
    manifest.write_text(json.dumps({"sha256": {"state.json": sums["state.json"]}}))
    with pytest.warns(UserWarning, match=r"does not name config\.json; using step-8 instead"):
        resumed(trained)


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    for step in (1, 2):
        checkpoint.save(tmp_path, step, {"net": {"w": torch.ones(2)}}, {"state": {}}, keep=1)
    with pytest.raises(
        mz.UserError, match=r"step-3 is not saved, because w in net.safetensors is not fin"
    ):
        checkpoint.save(
            tmp_path, 3, {"net": {"w": torch.tensor([1.0, torch.inf])}}, {"state": {}}, keep=1
        )
    assert [path.name for path in tmp_path.iterdir()] == ["step-2"]


# h: what cannot be pruned.


def test_links_and_stray_files_do_not_end_a_training(trained: Path, tiny, tmp_path) -> None:
    saved, elsewhere = trained / "checkpoints", tmp_path / "elsewhere"
    shutil.move(saved / "step-8", elsewhere)
    (saved / "step-8").symlink_to(elsewhere)
    (saved / "step-5").write_text("a note")
    (saved / ".old-step-9").symlink_to(tmp_path / "nowhere")
    longer = replace(tiny, train=replace(tiny.train, images=128))
    finish(longer, trained, resume=True)
    assert [path.name for path in checkpoint.listed(saved)] == ["step-12", "step-16"]
    assert (saved / "step-5").read_text() == "a note"
    assert (elsewhere / "state.json").exists()  # only the link to it was removed


def test_what_cannot_be_removed_is_said_and_the_training_goes_on(trained, tiny, monkeypatch):
    def busy(path: Path) -> None:
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(shutil, "rmtree", busy)
    longer = replace(tiny, train=replace(tiny.train, images=128))
    with pytest.warns(UserWarning, match=r"step-8 is no longer needed and cannot be removed"):
        finish(longer, trained, resume=True)
    assert checkpoint.listed(trained / "checkpoints")[-1].name == "step-16"


# n: signals, and reading while a training goes on.


@pytest.fixture
def heard() -> Iterator[None]:
    """Let SIGHUP end the process, even if the tests run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def test_a_hangup_saves_at_the_step(heard: None, tiny, tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="stopped by SIGHUP, all saved"):  # noqa: PT012
        for now in run(tiny, tmp_path / "run"):
            if now.images == 40:
                os.kill(os.getpid(), signal.SIGHUP)
    assert checkpoint.listed(tmp_path / "run" / "checkpoints")[-1].name == "step-6"


def test_trainings_may_end_in_any_order(heard: None) -> None:
    before = signal.getsignal(signal.SIGHUP)
    first, second = Stop(None), Stop(None)  # type: ignore[arg-type]
    first.__enter__()
    second.__enter__()
    os.kill(os.getpid(), signal.SIGHUP)
    assert (first.caught, second.caught) == (signal.SIGHUP, signal.SIGHUP)
    first.__exit__()
    assert signal.getsignal(signal.SIGHUP) != before
    second.__exit__()
    assert signal.getsignal(signal.SIGHUP) == before


def test_a_hangup_that_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Stop(None) as stop:  # type: ignore[arg-type]
            os.kill(os.getpid(), signal.SIGHUP)
        assert stop.caught == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_checkpoint_removed_while_it_is_read_gives_way_to_the_newer_one(tmp_path: Path) -> None:
    def save(step: int) -> None:
        tensors = {"net": {"w": torch.full((2,), float(step))}}
        checkpoint.save(tmp_path, step, tensors, {"state": {"step": step}}, keep=1)

    def use(found: Path) -> float:
        if found.name == "step-1":
            save(2)  # as the training does, which removes step-1
        return float(checkpoint.tensors(found, "net")["w"][0])

    save(1)
    assert checkpoint.usable(tmp_path, use, pytest.fail) == 2.0


def test_a_second_resume_always_says_that_the_run_is_in_training(trained: Path, tiny) -> None:
    first = run(replace(tiny, train=replace(tiny.train, images=128)), trained, resume=True)
    next(first)
    for file in newest(trained).iterdir():
        file.unlink()  # as while it is pruned
    with pytest.raises(mz.UserError, match="another process is training in"):
        finish(tiny, trained, resume=True)
    first.close()


# p: trackers.


class Leaving(ModuleType):
    def __getattr__(self, name: str) -> Any:
        raise SystemExit("login first")


@pytest.mark.parametrize("failing", ["import", "use"])
def test_a_tracker_that_ends_the_process_does_not(trained, tiny, monkeypatch, failing) -> None:
    monkeypatch.setitem(recipes.RECIPES, "tiny", tiny)
    if failing == "use":
        monkeypatch.setitem(sys.modules, "wandb", Leaving("wandb"))
    else:

        def broken(name: str) -> None:
            raise OSError("libprotobuf.so: wrong ELF class")

        monkeypatch.setattr(trackers, "import_module", broken)
    with pytest.warns(UserWarning, match="tracking with wandb failed and is now off"):
        mz.train(out=trained, resume=True, track="wandb", images=104)
    assert read(trained / "log.jsonl")[-1]["step"] == 13


# q: disks that are full, and more.


@contextmanager
def file_limit(size: int) -> Iterator[None]:
    """Let the operating system limit the size of files."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("images", "file"),
    [
        (0, "config.json"),
        (56, "checkpoints/step-8"),
        (64, "log.jsonl"),
        (72, "samples/000000080.png"),
    ],
)
def test_a_write_that_fails_is_one_line_and_keeps_what_was_saved(
    tiny, tmp_path: Path, images: int, file: str
) -> None:
    folder, log = tmp_path / "run", tmp_path / "run" / "log.jsonl"
    steps = run(replace(tiny, sample_every=80), folder)
    for now in steps:
        if now.images == images:
            break
    before = content(folder) if images else {}
    limit = log.stat().st_size + 20 if images and file == "log.jsonl" else 60
    with file_limit(limit), pytest.raises(Unwritable) as full:
        for _ in steps:
            pass
    after = content(folder)
    assert str(full.value).startswith(f"{folder / file} cannot be written (File too large): choose")
    assert ("from step-" in str(full.value)) == bool(images)
    assert {name: after[name] for name in before} == before
    assert not [name for name in after if "partial" in name or "/.new-" in name]
    if images == 64:
        finish(replace(tiny, sample_every=80), folder, resume=True)
        assert read(log)[-1]["step"] == 12


def test_a_page_that_cannot_be_written_keeps_the_old_one(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    write_text(page, "the old one")
    with file_limit(50), pytest.raises(Unwritable, match=r"report.html cannot be written \(File"):
        write_text(page, 100 * "a new one")
    assert content(tmp_path) == {str(page): b"the old one"}


def test_samples_that_cannot_be_written_are_one_line(trained, tmp_path, capsys: CapSys) -> None:
    with file_limit(200):
        code, _, err = call(capsys, "sample", str(trained), "-n", "2", "--out", str(tmp_path / "s"))
    assert (code, err.count("mezzotint: ")) == (2, 1)
    assert "cannot be written (File too large)" in err
    assert not list(tmp_path.glob("*.png"))
    assert not list((tmp_path / "s").iterdir())


def test_a_read_only_folder_is_one_line(trained: Path, tiny, monkeypatch) -> None:
    def locked(self: Path, *_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "open", locked)
    with pytest.raises(
        Unwritable, match=r"cannot be written \(Read-only file system\): make its d"
    ):
        finish(tiny, trained, resume=True)


def test_a_run_whose_path_is_not_utf_8_is_read(trained: Path, capsys: CapSys) -> None:
    moved = trained.rename(Path(os.fsdecode(os.fsencode(trained) + b"\xe9")))
    code, _, err = call(capsys, "sample", str(moved), "-n", "1", "--out", str(trained))
    assert (code, err.count("mezzotint: ")) == (0, 0)
    code, _, err = call(capsys, "train", "--resume", str(moved))
    assert (code, err.count("\n")) == (2, 1)
    assert "is not UTF-8" in err


def test_pipes_in_a_run_are_not_waited_for(trained: Path) -> None:
    for name in ("recommended.json", "log.jsonl", "samples/000000096.png"):
        (trained / name).unlink(missing_ok=True)
        os.mkfifo(trained / name)
    with pytest.warns(UserWarning, match=r"recommended.json is ignored"):
        mz.load(trained)
    shown = read_run(trained, "run")
    assert (shown.log, history.grids(shown)) == ([], None)
    state = newest(trained) / "state.json"
    state.unlink()
    os.mkfifo(state)
    with pytest.warns(UserWarning, match="state.json is missing; using step-8 instead"):
        resumed(trained)
