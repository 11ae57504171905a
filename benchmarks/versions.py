"""Compare the speed and the memory of two checkouts of this repository.

    python benchmarks/versions.py --before ../old --now . --out versions.md

Each checkout works in a process of its own. The two processes live as long as the comparison and
take turns: one works while the other waits. Run nothing else on the machine meanwhile. A turn
trains `glyphs-ddpm` for some steps, or samples 16 images of the shipped `cifar10`. The page has the
median ratio of the rounds, and the median ratio of the peak memory of fresh processes that train.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from turns import peak_memory

from mezzotint.storage import files
from mezzotint.storage.machine import machine

STEPS = 60  # of training in a turn
CASES = {
    "train": f"training `glyphs-ddpm`, {STEPS} steps",
    "sample-float32": "`cifar10`, 16 samples in float32",
    "sample-bf16": "`cifar10`, 16 samples in bf16",
}
MEMORY = "peak memory of training `glyphs-ddpm`"


def worker(case: str) -> None:
    """Work once for each line of standard input, and answer with the seconds and the MiB."""
    with tempfile.TemporaryDirectory() as folder:
        turn = training(folder) if case == "train" else sampling(case.removeprefix("sample-"))
        for _ in sys.stdin:
            clock = time.perf_counter()
            turn()
            print(json.dumps([time.perf_counter() - clock, peak_memory()]), flush=True)


def training(folder: str) -> Callable[[], object]:
    import mezzotint as mz

    never = 10**9
    quiet = {"log_every": never, "sample_every": never, "save_every": never}
    steps = mz.training("glyphs-ddpm", out=Path(folder) / "run", images=never, **quiet)
    next(steps)
    return lambda: [next(steps) for _ in range(STEPS)]


def sampling(precision: str) -> Callable[[], object]:
    import mezzotint as mz

    pipe = mz.load("cifar10", precision=precision)
    return lambda: pipe.sample(16, seed=0)


class Checkout:
    """A process that works with the code of one checkout."""

    def __init__(self, root: Path, case: str) -> None:
        paths = (str(root.resolve() / "src"), str(Path(__file__).parent))
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--worker", case],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def turn(self) -> tuple[float, float]:
        assert self.process.stdin
        assert self.process.stdout
        print(file=self.process.stdin, flush=True)
        seconds, memory = json.loads(self.process.stdout.readline())
        return seconds, memory

    def end(self) -> None:
        self.process.communicate()


def compared(case: str, before: Path, now: Path, rounds: int) -> list[tuple[float, float]]:
    """Return the seconds of both checkouts in each round, in random order, after a warm-up."""
    two = Checkout(before, case), Checkout(now, case)
    order = random.Random(0)
    found = []
    for number in range(-2, rounds):
        times = [0.0, 0.0]
        for which in order.sample((0, 1), 2):
            times[which] = two[which].turn()[0]
        if number >= 0:
            found.append((times[0], times[1]))
    for each in two:
        each.end()
    return found


def memories(before: Path, now: Path, rounds: int) -> list[tuple[float, float]]:
    """Return the peak memory in MiB of both checkouts, in fresh processes that train."""
    found = []
    for _ in range(rounds):
        peaks = []
        for root in (before, now):
            fresh = Checkout(root, "train")
            peaks.append(fresh.turn()[1])
            fresh.end()
        found.append((peaks[0], peaks[1]))
    return found


def row(name: str, unit: str, found: list[tuple[float, float]]) -> str:
    """Return a row of the table; the ratio is before / now, so more than 1 is better now."""
    old, new = (median(each) for each in zip(*found, strict=True))
    ratios = sorted(a / b for a, b in found)
    quarter = len(ratios) // 4
    middle = f"{median(ratios):.3f} ({ratios[quarter]:.3f} to {ratios[-1 - quarter]:.3f})"
    return f"| {name} | {old:,.3g} {unit} | {new:,.3g} {unit} | {middle} | {len(found)} |"


def commit(root: Path) -> str:
    call = ["git", "-C", str(root), "rev-parse", "--short", "HEAD"]
    return subprocess.run(call, check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path)
    parser.add_argument("--now", type=Path, default=Path())
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.worker:
        worker(flags.worker)
        return
    rows = [
        row(name, "s", compared(case, flags.before, flags.now, flags.rounds))
        for case, name in CASES.items()
    ]
    rows.append(row(MEMORY, "MiB", memories(flags.before, flags.now, max(3, flags.rounds // 8))))
    page = "\n".join(
        [
            f"| | {commit(flags.before)} | {commit(flags.now)} | ratio | rounds |",
            "|---|---|---|---|---|",
            *rows,
            "",
            f"Measured on {machine('torch')}.",
            "",
        ]
    )
    print(page)
    if flags.out:
        files.replace(flags.out, page)


if __name__ == "__main__":
    main()
