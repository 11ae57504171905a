"""Processes that decode image files beside the threads."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from mezzotint.data import decoding, images, prepare, read_image, workers
from mezzotint.data.images import RGB, ImageFile
from mezzotint.data.in_flight import InFlight
from mezzotint.data.workers import Workers
from mezzotint.errors import UserError


def wait_until(true, seconds=20):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def two(monkeypatch):
    """Start two workers at the first task that ends, and wait for them; yield those of the test."""
    monkeypatch.setattr(decoding.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(decoding, "_CHUNK", 3)
    monkeypatch.setattr(decoding, "_SOON", -1)
    monkeypatch.setattr(decoding, "_LONG", -float("inf"))
    start, every = Workers.start, []

    def patient(self):
        if self not in every:
            every.append(self)
            start(self)
            wait_until(lambda: self._idle.qsize() == len(self.all))

    monkeypatch.setattr(Workers, "start", patient)
    return every


@pytest.fixture
def counted(monkeypatch):
    """Count the images that workers decoded, and those that they did not."""
    counts, decoded = [0, 0], Workers.decoded

    def counting(self, *arguments):
        found = decoded(self, *arguments)
        nothing = sum(pixels is None for pixels in found)
        counts[0] += len(found) - nothing
        counts[1] += nothing
        return found

    monkeypatch.setattr(Workers, "decoded", counting)
    return counts


@pytest.fixture
def many(tmp_path, noise):
    """Sixty images of many kinds, in two class folders, with three that cannot be read."""
    root = tmp_path / "many"
    for i in range(60):
        image = Image.fromarray(noise(i, 9 + i % 3, 12, 3))
        image = image.convert(("RGB", "L", "P", "RGBA", "CMYK", "RGB")[i % 6])
        suffix = ("jpg", "png", "gif", "webp", "jpg", "bmp")[i % 6]
        path = root / "ab"[i % 2] / f"{i:03}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        turned = Image.Exif()
        turned[0x0112] = 1 + i % 8
        image.save(path, **({"exif": turned} if suffix == "jpg" else {}))
    good = (root / "a" / "030.jpg").read_bytes()
    (root / "a" / "031.jpg").write_bytes(good[:-40])
    (root / "b" / "032.jpg").write_bytes(b"")
    (root / "b" / "033.jpg").symlink_to(root / "nowhere")
    return root


@pytest.mark.parametrize("how", [{"size": 8}, {"size": (6, 8), "mode": "grey"}, {"mode": "rgba"}])
@pytest.mark.parametrize("packed", [False, True])
def test_workers_prepare_the_same(many, tmp_path, two, counted, monkeypatch, how, packed) -> None:
    how = {"size": 8, **how, "skip_bad": True}
    data = Path(shutil.make_archive(str(tmp_path / "z"), "zip", many)) if packed else many
    found = prepare(data, **how)
    assert counted[0] > 30
    assert all(worker.returncode is not None for worker in two[0].all)
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "threads"))
    monkeypatch.setattr(Workers, "start", lambda self: None)
    expected = prepare(data, **how)
    assert (found.fingerprint, found.skipped) == (expected.fingerprint, expected.skipped)
    np.testing.assert_array_equal(found.images, expected.images)
    np.testing.assert_array_equal(found.labels, expected.labels)


def test_messages_are_the_same(many, two, counted, monkeypatch) -> None:
    with pytest.raises(UserError, match="3 of 63 images cannot be read") as found:
        prepare(many, size=8)
    with pytest.raises(UserError, match=r"differ in size: a/000\.jpg is") as sizes:
        prepare(many, skip_bad=True, mode="rgb")
    assert counted[0] > 30
    monkeypatch.setattr(Workers, "start", lambda self: None)
    with pytest.raises(UserError) as expected:
        prepare(many, size=8)
    assert str(found.value) == str(expected.value)
    with pytest.raises(UserError) as expected:
        prepare(many, skip_bad=True, mode="rgb")
    assert str(sizes.value) == str(expected.value)


def test_a_killed_worker_is_named_in_one_line(many, two, monkeypatch) -> None:
    greet = Workers._greet

    def doomed(self, worker):
        greet(self, worker)
        worker.send_signal(signal.SIGKILL)

    monkeypatch.setattr(Workers, "_greet", doomed)
    with pytest.raises(UserError, match=r"^a process that decoded images was killed by SIGKILL, "):
        prepare(many, size=8, skip_bad=True)
    assert all(worker.returncode is not None for worker in two[0].all)


def test_workers_that_do_not_start_are_not_missed(many, two, counted, monkeypatch) -> None:
    monkeypatch.setattr(workers, "_SERVE", "raise SystemExit")
    monkeypatch.setattr(Workers, "_greet", lambda self, worker: self._idle.put(worker.wait()))
    monkeypatch.setattr(Workers, "decoded", lambda self, decoders, wanted: [None] * len(decoders))
    assert len(prepare(many, size=8, skip_bad=True)) == 60
    assert len(two[0].all) == 2


def test_without_workers(many, monkeypatch) -> None:
    """A single processor, the processes of torchrun, and a program that contains Python."""
    one, two = Workers(1, 10), Workers(2, 10)
    one.start()
    monkeypatch.setenv("WORLD_SIZE", "2")
    two.start()
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    two.start()
    assert one.all == two.all == []
    monkeypatch.setattr(Workers, "start", None)
    prepare(many, size=8, skip_bad=True)  # takes no second


@pytest.fixture
def started():
    """Return a function that starts two workers, and waits for them."""
    every = []

    def start(most):
        found = Workers(2, most)
        every.append(found)
        found.start()
        wait_until(lambda: found._idle.qsize() == 2)
        return found

    yield start
    for each in every:
        each.end()


def test_a_worker_leaves_faulty_and_large_images_to_the_caller(tmp_path, started, noise) -> None:
    for side in (4, 6):
        Image.fromarray(noise(side, side, side, 3)).save(tmp_path / f"{side}.png")
    (tmp_path / "bad.png").write_bytes(b"bad")
    good = tmp_path / "4.png"

    def of(*names):
        return [ImageFile(lambda name=name: tmp_path / name) for name in names]

    crew = started(1000)
    found = crew.decoded([*of("4.png", "bad.png", "none.png"), lambda wanted: 1, *of("6.png")], RGB)
    assert [pixels is None for pixels in found] == [False, True, True, True, False]
    np.testing.assert_array_equal(found[0], read_image(good))
    few = started(100)
    found = few.decoded(of("4.png", "6.png", "4.png", "4.png"), RGB)  # of 48 and 108 bytes
    assert [pixels is None for pixels in found] == [False, False, True, True]
    content = good.read_bytes()
    found = few.decoded([ImageFile(lambda: content)] * 3, RGB)
    assert [pixels is None for pixels in found] == [False, True, True]


def test_the_workers_share_the_limit_on_pixels(tmp_path, started, monkeypatch) -> None:
    limit = InFlight(32)
    monkeypatch.setattr(images, "IN_FLIGHT", limit)
    for side in (4, 5):
        Image.new("L", (side, side)).save(tmp_path / f"{side}.png")
    files = [ImageFile(lambda side=side: tmp_path / f"{side}.png") for side in (4, 5)]
    found = started(1000).decoded(files, RGB)
    assert [pixels is None for pixels in found] == [False, True]
    assert limit.used == 0


def test_settings_of_pillow_apply_in_workers(tmp_path, started, monkeypatch) -> None:
    Image.new("L", (20, 20)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert started(1000).decoded([ImageFile(lambda: tmp_path / "a.png")], RGB) == [None]


def test_a_worker_imports_little() -> None:
    code = workers._SERVE.replace("serve()", "print('torch' in sys.modules)")
    command = [sys.executable, "-c", code, workers.json.dumps(sys.path), workers.__file__[:-11]]
    assert subprocess.check_output(command) == b"False\n"


SCRIPT = """
import os, signal, sys, threading, time
import mezzotint as mz
from mezzotint.data import decoding
from mezzotint.data.workers import Workers

print("begun", flush=True)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
os.cpu_count = lambda: 2
decoding._CHUNK, decoding._SOON, decoding._LONG = 1, -1, -float("inf")
start, decoded, once = Workers.start, Workers.decoded, threading.Lock()

def patient(self):
    start(self)
    while self._idle.empty():
        time.sleep(0.01)

def dying(self, *arguments):
    if self.all and once.acquire(blocking=False):
        print(*(worker.pid for worker in self.all), flush=True)
        os.kill(os.getpid(), int(sys.argv[2]))
    return decoded(self, *arguments)

Workers.start, Workers.decoded = patient, dying
mz.prepare(sys.argv[1], size=8, skip_bad=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_a_script_without_a_guard(many, tmp_path, number) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(many), str(int(number))]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    begun, pids, *_ = ended.stdout.splitlines()
    assert (begun, ended.returncode) == ("begun", -number)
    assert ended.stderr.count("Traceback") == (number == signal.SIGINT)
    wait_until(lambda: not any(map(runs, map(int, pids.split()))))


def runs(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
