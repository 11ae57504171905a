"""A run folder after interruptions, damage, and trainings in several processes."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import mezzotint as mz
from mezzotint import cli
from mezzotint import config as configuration
from mezzotint.config.experiment import Experiment
from mezzotint.networks import network
from mezzotint.run import Interrupted, run
from mezzotint.run.folder import check_data, locked
from mezzotint.storage import checkpoint
from mezzotint.storage.log import read
from mezzotint.trainer.objective import ObjectiveConfig
from together import together

from trainings import assert_same, cut_and_resume, finish, in_letters_and_numbers, losses


@pytest.fixture
def whole(finished: Path, tmp_path: Path) -> Path:
    """The run of `tiny` that was never interrupted."""
    return Path(shutil.copytree(finished, tmp_path / "whole"))


def test_a_run_folder_holds_what_it_should(whole: Path, tiny: Experiment) -> None:
    assert configuration.read(whole / "config.json") == tiny
    assert [row["step"] for row in read(whole / "log.jsonl")] == [3, 6, 9, 12]
    row = read(whole / "log.jsonl")[-1]
    assert row.keys() == {"step", "images", "loss", "grad_norm", "lr", "images_per_second"}
    assert row["images"] == 96
    assert [p.name for p in (whole / "samples").iterdir()] == ["000000096.png"]
    names = {p.name for p in (whole / "checkpoints" / "step-12").iterdir()}
    assert names == {
        "config.json", "ema.safetensors", "manifest.json",
        "net.safetensors", "optimizer.safetensors", "state.json",
    }  # fmt: skip


def test_a_resume_is_exact_in_bf16_too(tiny: Experiment, tmp_path: Path) -> None:
    low = replace(tiny, precision="bf16")
    finish(low, tmp_path / "whole")
    cut_and_resume(low, tmp_path / "crashed", 6)
    assert_same(tmp_path / "whole", tmp_path / "crashed")


def test_contrast_trains_and_needs_two_images(tiny: Experiment, tmp_path: Path) -> None:
    apart = replace(tiny, objective=ObjectiveConfig(contrast=0.05))
    plain, contrasted = tmp_path / "plain", tmp_path / "contrasted"
    finish(tiny, plain)
    finish(apart, contrasted)
    first, other = (losses(run)[0][1] for run in (plain, contrasted))
    assert other == pytest.approx(first, rel=1e-3)  # the log has the error without the contrast
    assert losses(contrasted)[-1] != losses(plain)[-1]
    with pytest.raises(mz.UserError, match=r"^`contrast` compares images with each other"):
        mz.train(apart, out=tmp_path / "one", batch=1)
    assert not (tmp_path / "one").exists()


def test_a_resume_is_exact_where_small_images_end(tiny: Experiment, tmp_path: Path) -> None:
    small = replace(tiny, objective=ObjectiveConfig(small_first=0.5))
    finish(small, tmp_path / "whole")
    cut_and_resume(small, tmp_path / "crashed", 5)
    assert_same(tmp_path / "whole", tmp_path / "crashed")
    longer = replace(small, train=replace(small.train, images=2 * small.train.images))
    note = next(run(longer, tmp_path / "crashed", resume=True)).note
    assert "the steps so far had images of another size" in note


@pytest.mark.parametrize(
    "fields", [{"learn_variance": True}, {"net": mz.DiTConfig(width=32, depth=1, heads=2)}]
)
def test_small_images_are_refused_where_they_do_not_fit(tiny, tmp_path, fields) -> None:
    with pytest.raises(mz.UserError, match="`small_first` needs a U-Net, pixels instead of"):
        mz.train(tiny, out=tmp_path / "run", small_first=0.5, **fields)
    assert not (tmp_path / "run").exists()


def test_small_images_need_even_sides_and_no_images_as_conditions(tiny, tmp_path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, 9, 8, 3), np.uint8)
    odd = mz.prepare(images, [0] * 8)
    given = mz.prepare(images[:, :8], condition={"near": images[:, :8]})
    for data in (odd, given):
        with pytest.raises(mz.UserError, match=r"^`small_first` cannot be used with images of odd"):
            mz.train(tiny, data=data, out=tmp_path / "run", small_first=0.5, size=None)
    assert not (tmp_path / "run").exists()


def test_a_resume_is_exact_with_all_that_is_learned_beside(tiny, tmp_path) -> None:
    """It crashes after the levels became adaptive, and restores their statistics."""
    full = replace(
        tiny,
        noise=replace(tiny.noise, timesteps=3, learn_variance=True),
        objective=ObjectiveConfig(levels="adaptive", weighting="learned"),
    )
    finish(full, tmp_path / "whole")
    cut_and_resume(full, tmp_path / "crashed", 10)
    assert_same(tmp_path / "whole", tmp_path / "crashed")
    beside = load_file(tmp_path / "whole" / "checkpoints" / "step-8" / "task.safetensors")
    assert beside["levels.count"].min() >= 10
    assert beside["uncertainty.weight"].abs().min() > 0


@pytest.mark.slow
def test_a_resume_is_exact_of_compiled_code_too(tiny, tmp_path) -> None:
    if not network.compiles():
        pytest.skip("no code can be compiled here: that takes a C++ compiler, Python's headers")
    still = replace(tiny, net=replace(tiny.net, dropout=0.0))  # whose masks would be others
    finish(still, tmp_path / "plain")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "STEPS_FROM", 1)
        finish(still, tmp_path / "compiled")
        started = run(still, tmp_path / "crashed")
        assert "its network is compiled" in next(started).note
        for _ in range(6):
            next(started)
        started.close()
        torch.compiler.reset()  # as in another process
        finish(still, tmp_path / "crashed", resume=True)
    assert_same(tmp_path / "compiled", tmp_path / "crashed")
    for a, b in zip(losses(tmp_path / "plain"), losses(tmp_path / "compiled"), strict=True):
        assert a == pytest.approx(b, rel=1e-4)


@pytest.mark.parametrize("steps", [1, 5, 7, 11])
def test_a_crash_and_a_resume_leave_no_trace(whole, tiny, tmp_path, steps: int) -> None:
    started = run(tiny, tmp_path / "crashed")
    for _ in range(1 + steps):
        next(started)
    started.close()  # no more is saved than the intervals before
    torch.manual_seed(99)
    finish(tiny, tmp_path / "crashed", resume=True)
    assert_same(whole, tmp_path / "crashed")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_step_and_a_resume_leaves_no_trace(whole, tiny, tmp_path, number):
    folder = tmp_path / "stopped"
    started = run(tiny, folder)
    for _ in range(1 + 4):
        next(started)
    os.kill(os.getpid(), number)
    next(started)  # step 5, in the middle of an interval of the log
    with pytest.raises(Interrupted) as stopped:
        next(started)
    assert stopped.value.number == number
    assert checkpoint.listed(folder / "checkpoints")[-1].name == "step-5"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finish(tiny, folder, resume=True)
    assert_same(whole, folder)


@pytest.mark.parametrize("number", [signal.SIGINT, None])
def test_a_first_step_that_a_signal_fails_is_an_interruption(tiny, tmp_path, number) -> None:
    def fails(*_: object) -> Iterator[object]:
        if number:
            os.kill(os.getpid(), number)
        raise OSError("the compiler was interrupted")
        yield

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mezzotint.run.steps.train", fails)
        expected = "stopped by SIGINT before the first step: start again with" if number else None
        with pytest.raises(Interrupted if number else OSError, match=expected):
            finish(tiny, tmp_path / "run")
    finish(tiny, tmp_path / "run", resume=True)


def test_a_signal_while_a_grid_is_drawn_loses_nothing(tiny, tmp_path, monkeypatch) -> None:
    """The checkpoint is written first. The signal ends the grid, and the resume draws it."""
    folder = tmp_path / "run"
    sampling = replace(tiny.sample, steps=50)
    slow = replace(tiny, sample=sampling)
    sample, calls = mz.Pipeline.sample, []

    def spy(self, n, labels=None, *, on_step, **rest):
        def follow(done: int, of: int) -> None:
            calls.append(done)
            if len(calls) == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            on_step(done, of)

        return sample(self, n, labels, on_step=follow, **rest)

    monkeypatch.setattr(mz.Pipeline, "sample", spy)
    with pytest.raises(Interrupted):
        finish(slow, folder)
    assert len(calls) < 10
    assert checkpoint.listed(folder / "checkpoints")[-1].name == "step-12"
    assert not (folder / "samples").exists() or not list((folder / "samples").iterdir())
    monkeypatch.undo()
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "another"))
    from mezzotint.data.sources import glyphs

    monkeypatch.setitem(glyphs.COUNTS, "train", 100)
    finish(slow, folder, resume=True)
    assert [p.name for p in (folder / "samples").iterdir()] == ["000000096.png"]


def test_a_run_in_training_is_not_trained_by_a_second_process(tiny, tmp_path) -> None:
    first = run(tiny, tmp_path / "run")
    next(first)
    with pytest.raises(mz.UserError, match="another process is training in"):
        finish(tiny, tmp_path / "run", resume=True)
    first.close()
    finish(tiny, tmp_path / "run", resume=True)


def test_a_run_that_was_trained_while_this_one_prepared_is_left_alone(
    tiny, tmp_path, monkeypatch
) -> None:
    @contextmanager
    def late(folder: Path) -> Iterator[None]:
        monkeypatch.undo()
        finish(tiny, folder)
        with locked(folder):
            yield

    monkeypatch.setattr("mezzotint.run.running.locked", late)
    with pytest.raises(mz.UserError, match=r"another process has just trained in"):
        finish(tiny, tmp_path / "run")
    assert losses(tmp_path / "run")[-1][0] == 12


def test_a_run_without_a_checkpoint_can_be_begun_anew(tiny, tmp_path) -> None:
    first = run(tiny, tmp_path / "run")
    next(first)
    next(first)
    first.close()
    finish(replace(tiny, train=replace(tiny.train, lr=2e-3)), tmp_path / "run", resume=True)
    assert losses(tmp_path / "run")[-1][0] == 12


def test_nothing_of_a_training_without_a_checkpoint_stays_in_the_next(tiny, tmp_path) -> None:
    shorter = replace(tiny, train=replace(tiny.train, snapshots=16, lr=2e-3), sample_every=16)
    first = run(shorter, tmp_path / "run")
    for now in first:
        if now.images >= 24:
            break
    first.close()
    assert [p.name for p in (tmp_path / "run" / "averages").iterdir()] == ["step-2"]
    assert not (tmp_path / "run" / "checkpoints").exists()
    (tmp_path / "run" / "checkpoints" / "best").mkdir(parents=True)
    finish(replace(tiny, sample_every=96), tmp_path / "run", resume=True)
    assert not list((tmp_path / "run" / "averages").iterdir())
    assert [p.name for p in (tmp_path / "run" / "samples").iterdir()] == ["000000096.png"]
    assert not (tmp_path / "run" / "checkpoints" / "best").exists()


def test_a_damaged_newest_checkpoint_is_reported_and_the_one_before_used(whole, tiny, tmp_path):
    folder = tmp_path / "damaged"
    started = run(tiny, folder)
    for _ in range(1 + 9):
        next(started)
    started.close()
    path = folder / "checkpoints" / "step-8" / "optimizer.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="step-8 is damaged: optimizer.safetensors"):
        finish(tiny, folder, resume=True)
    assert_same(whole, folder)


def test_a_finished_run_resumed_does_nothing_and_can_be_prolonged(whole, tiny) -> None:
    finish(tiny, whole, resume=True)
    assert losses(whole)[-1][0] == 12
    longer = replace(tiny, train=replace(tiny.train, images=128))
    finish(longer, whole, resume=True)
    assert losses(whole)[-1][0] == 16
    assert configuration.read(whole / "config.json").train.images == 128


def test_another_run_is_not_overwritten(whole: Path, tiny: Experiment) -> None:
    before = {p: p.read_bytes() for p in whole.rglob("*") if p.is_file()}
    with pytest.raises(mz.UserError, match="already holds a run: pass `resume=True`"):
        finish(tiny, whole)
    other = replace(tiny, train=replace(tiny.train, lr=0.5))
    with pytest.raises(mz.UserError, match=r"was begun with `lr=0\.001`, not 0\.5"):
        finish(other, whole, resume=True)
    assert before == {p: p.read_bytes() for p in whole.rglob("*") if p.is_file()}


def test_a_folder_that_is_no_run_is_left_alone(tiny: Experiment, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(mz.UserError, match="exists but is not a run"):
        finish(tiny, tmp_path, resume=True)


def test_other_data_is_refused_on_resume(whole, tiny, monkeypatch) -> None:
    from mezzotint.data.sources import glyphs

    monkeypatch.setitem(glyphs.COUNTS, "train", 90)
    with pytest.raises(mz.UserError, match="the data is not what"):
        finish(tiny, whole, resume=True)


def test_classes_in_another_order_are_refused_with_that_reason(tmp_path: Path) -> None:
    _, now = in_letters_and_numbers()
    (tmp_path / "state.json").write_text(json.dumps({"data": "a", "classes": ["1", "10", "2"]}))
    expected = "in the order 1, 10, 2, but the data now has the order 1, 2, 10"
    with pytest.raises(mz.UserError, match=expected):
        check_data(tmp_path, {"data": "b", "classes": ("1", "2", "10")}, now)
    with pytest.raises(mz.UserError, match="the data is not what"):
        check_data(tmp_path, {"data": "b", "classes": ("1", "10", "3")}, now)
    check_data(tmp_path, {"data": "a", "classes": ("1", "10", "2")}, now)


def test_data_of_another_number_of_classes_is_refused(tmp_path: Path) -> None:
    _, now = in_letters_and_numbers()
    (tmp_path / "state.json").write_text(json.dumps({"data": "a", "classes": ["1", "2"]}))
    for classes, number in ((("1", "2", "3"), "3 classes"), (("1",), "1 class")):
        with pytest.raises(mz.UserError, match=f"the data has {number} but .* was trained on 2: "):
            check_data(tmp_path, {"data": "b", "classes": classes}, now)


def test_images_in_another_order_are_refused_with_that_reason(tmp_path: Path) -> None:
    then, now = in_letters_and_numbers()
    state = {"data": then.fingerprint, "classes": []}
    (tmp_path / "state.json").write_text(json.dumps(state))
    facts = {"data": now.fingerprint, "classes": []}
    with pytest.raises(mz.UserError, match=r"were sorted as text \(1, 10, 2\)"):
        check_data(tmp_path, facts, now)
    other = mz.prepare(now.images[::-1].copy(), now.labels, classes=now.classes)
    with pytest.raises(mz.UserError, match="the data is not what"):
        check_data(tmp_path, {**facts, "data": other.fingerprint}, other)


def test_a_loss_that_is_not_finite_stops_the_run_and_is_not_saved(tiny, tmp_path) -> None:
    wild = replace(tiny, train=replace(tiny.train, lr=1e30, warmup=0), save_every=8)
    with pytest.raises(mz.UserError, match="not finite at step"):
        finish(wild, tmp_path / "wild")
    newest = checkpoint.listed(tmp_path / "wild" / "checkpoints")[-1]
    assert json.loads((newest / "state.json").read_text())["step"] < 12


def test_data_without_classes_wants_an_unconditional_network(tiny, tmp_path) -> None:
    folder = pictures(tmp_path / "flat", classes=[""])
    flat = replace(tiny, data=replace(tiny.data, data=str(folder)))
    with pytest.raises(mz.UserError, match="has no classes: pass `conditional=False`"):
        finish(flat, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    finish(replace(flat, data=replace(flat.data, conditional=False)), tmp_path / "run")
    assert mz.load(tmp_path / "run").defaults.guidance == 1  # though the recipe's is 2
    assert mz.load(tmp_path / "run").sample(3).shape == (3, 3, 16, 16)


def pictures(folder: Path, classes: list[str]) -> Path:
    """Write class folders of 20 random images with 16x16 pixels each."""
    draw = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(20):
            array = draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(array).save(folder / name / f"{i}.png")
    return folder


LONG = f"{8 * (network.STEPS_FROM - 1)}"  # images: more steps, and compiling comes first


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The arguments of a small training, without --images."""
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    folder = pictures(tmp_path / "data", ["cat", "dog"])
    flags = (
        f"train glyphs-ddpm --data {folder} --channels 8 16 --groups 4 --blocks 1 --batch 8 "
        "--warmup 0 --precision float32 --log-every 8 --save-every 160 --sample-every 100000000 "
        "--steps 2"
    )
    return ["-m", "mezzotint", *flags.split()]


Start = Callable[[list[str], Path], subprocess.Popen]


@pytest.fixture
def start() -> Iterator[Start]:
    """A function that starts a command and waits until it trains; it is killed at the end."""
    begun: list[psutil.Process] = []

    def start(arguments: list[str], log: Path) -> subprocess.Popen:
        with log.open("w") as out:
            process = subprocess.Popen([sys.executable, *arguments], stdout=out, stderr=out)
        begun.append(psutil.Process(process.pid))
        end = time.monotonic() + 300
        while "saved" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, f"it does not train: {log.read_text()}"
            time.sleep(0.1)
        begun.extend(begun[-1].children(recursive=True))
        return process

    yield start
    for process in begun:
        with suppress(psutil.NoSuchProcess):
            process.kill()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_command_ends_with_the_signals_code_all_saved(
    command, start: Start, tmp_path, number, code
) -> None:
    out, log = tmp_path / "run", tmp_path / "log"
    process = start([*command, "--images", LONG, "--out", str(out)], log)
    process.send_signal(number)
    assert process.wait(timeout=300) == code
    last = log.read_text().splitlines()[-1]
    assert last == f"mezzotint: stopped by {number.name}, all saved: continue with --resume"
    newest = checkpoint.listed(out / "checkpoints")[-1]
    assert json.loads((newest / "state.json").read_text())["step"] == losses(out)[-1][0]


def test_a_signal_to_torchrun_saves_once_for_all(command, start: Start, tmp_path) -> None:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    out, log = tmp_path / "run", tmp_path / "log"
    process = start([*torchrun, *command, "--images", LONG, "--out", str(out)], log)
    process.terminate()
    assert process.wait(timeout=300) != 0
    assert log.read_text().count("stopped by SIGTERM, all saved") == 1
    newest = checkpoint.newest(out / "checkpoints", pytest.fail)
    assert json.loads((newest / "state.json").read_text())["step"] == losses(out)[-1][0]


@pytest.mark.parametrize(
    "more", ["", "--levels adaptive --weighting learned --learn-variance --timesteps 4"]
)
def test_two_processes_with_half_the_batch_give_ones_losses(command, tmp_path, more: str) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    command += ["--images", "320", *more.split()]
    cli.main([*command[2:], "--out", str(one)])

    def work(rank: int) -> None:
        cli.main([*command[2:], "--out", str(two)])

    assert together(2, work, tmp_path / "log") == [0, 0]
    assert len(losses(one)) == 40
    np.testing.assert_allclose(losses(two), losses(one), rtol=2e-3)
    np.testing.assert_allclose(losses(two)[:10], losses(one)[:10], rtol=1e-5)
    if more:
        states = [load_file(f / "checkpoints/step-40/task.safetensors") for f in (one, two)]
        assert torch.equal(*(state["levels.count"] for state in states))
        torch.testing.assert_close(*states, rtol=2e-2, atol=1e-4)


@pytest.mark.slow  # test_processes.py has one that dies among forks
def test_a_rank_that_fails_ends_all_of_them(command, start: Start, tmp_path) -> None:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    arguments = [*torchrun, *command, "--images", LONG, "--out", str(tmp_path / "run")]
    process = start(arguments, tmp_path / "log")
    ranks = psutil.Process(process.pid).children()
    assert len(ranks) == 2
    victim = next(r for r in ranks if r.environ()["RANK"] == "1")
    victim.kill()
    assert process.wait(timeout=300) != 0
    _, alive = psutil.wait_procs(ranks, timeout=60)
    assert not alive


KILLED = """
import os, sys
from pathlib import Path
from mezzotint.config.experiment import Experiment
from mezzotint.config.sampling import SampleConfig
from mezzotint.config.sections import DataConfig
from mezzotint.run import run
from mezzotint.run.folder import check_data
from mezzotint.networks import UNetConfig
from mezzotint.trainer.loop import TrainConfig
import accelerate, torch
import torch._dynamo  # which takes seconds, of every life that does not find it imported

torch.set_num_threads(1)
data, out = sys.argv[1:]
experiment = Experiment(
    recipe="killed", data=DataConfig(data=data), sample=SampleConfig(steps=1),
    net=UNetConfig(channels=(64, 128), blocks=1, attention=(), groups=8),
    train=TrainConfig(images=2 * 4999, batch=2, warmup=0), precision="float32",
    log_every=2, save_every=4, sample_every=10**9,
)
print("ready", flush=True)
for _ in sys.stdin:  # each line asks for one more life
    if not (child := os.fork()):
        for now in run(experiment, Path(out), resume=True):
            print(now.images, "saved" if "saved" in now.note else "-", flush=True)
    print("child", child, flush=True)
    os.waitpid(child, 0)
    print("dead", flush=True)
"""


def test_kill_9_in_the_middle_of_a_save_never_loses_more_than_the_last_interval(
    tmp_path, monkeypatch
):
    """20 processes, each killed soon after a save: at a random time, or in the next save."""
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "cache"))
    data, out = pictures(tmp_path / "data", ["a", "b"]), tmp_path / "run"
    parent = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(data), str(out)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
    )  # fmt: skip
    draw = random.Random(0)
    assert parent.stdout.readline() == "ready\n"
    saved = seen = torn = 0
    for life in range(20):
        parent.stdin.write("live\n")
        word, child = parent.stdout.readline().split()
        assert word == "child"
        lines = iter(parent.stdout.readline, "dead\n")
        for line in lines:
            if "saved" in line:
                break
        images, _ = line.split()
        saved = seen = int(images)
        time.sleep(draw.uniform(0, 0.3))
        saving = (out / "checkpoints").glob
        while life % 2 and psutil.pid_exists(int(child)) and not any(saving(".new-step-*")):
            pass
        os.kill(int(child), signal.SIGKILL)
        for line in lines:  # what it had still told
            images, note = line.split()
            seen, saved = int(images), int(images) if note == "saved" else saved
        torn += any((out / "checkpoints").glob(".new-step-*"))
        newest = checkpoint.newest(out / "checkpoints", pytest.fail)
        kept = json.loads((newest / "state.json").read_text())["step"] * 2
        assert kept >= saved  # what was told to be saved is there, whole
        assert seen - kept <= 4  # and no more than an interval is lost
    parent.stdin.close()
    assert parent.wait(timeout=30) == 0
    assert torn >= 1, "too few kills fell into a save for this to prove anything"


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ({"sampler": "ddpm", "variance": "learned"}, "has not learned a variance"),
        ({"spacing": "optimised", "steps": 25}, "at most 24 steps"),
        ({"interval": (100.0, 200.0)}, "no level of the grid"),
    ],
)
def test_sampling_that_can_never_be_is_refused_before_the_training(
    tiny: Experiment, tmp_path: Path, sample: dict[str, object], message: str
) -> None:
    wish = replace(tiny, sample=replace(tiny.sample, **sample))
    with pytest.raises(mz.UserError, match=message):
        list(run(wish, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_model_without_classes_is_drawn_unguided_whatever_the_recipe_says(
    tiny: Experiment, tmp_path: Path
) -> None:
    guided = replace(tiny.sample, guidance_shape="linear", interval=(0.1, 10.0), rescale=0.5)
    data = replace(tiny.data, conditional=False)
    for _ in run(replace(tiny, data=data, sample=guided), tmp_path / "run"):
        pass
    assert list((tmp_path / "run" / "samples").iterdir())
