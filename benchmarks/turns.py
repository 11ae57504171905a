"""Time several functions in turn, in one process, and write tables of the times."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import torch

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
Turn = Callable[[], object]
Row = tuple[str, list[float]]


def take_turns(turns: dict[str, Turn], pairs: int, rare: dict[str, int]) -> Iterator[Row]:
    """Yield the seconds of each function: one turn to warm up, then one turn per round.

    ``rare`` has the number of rounds of slow functions, which have no turn to warm up.
    """
    times: dict[str, list[float]] = {name: [] for name in turns}
    for i in range(-1, pairs):
        for name, turn in turns.items():
            if rare.get(name, pairs) < pairs and not 0 <= i < rare[name]:
                continue
            synchronize()
            clock = time.perf_counter()
            turn()
            synchronize()
            if i >= 0:
                times[name].append(time.perf_counter() - clock)
    yield from times.items()


def synchronize() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def table(what: str, count: int, rows: list[Row]) -> str:
    """Write a table of images per second, and of the speed of the first row divided by each."""
    first = rows[0][1]
    head = "| | images/s | speed of the first row / of this row | rounds |"
    lines = [f"\n{what}\n", head, "|---|---|---|---|"]
    for name, times in rows:
        ratios = [b / a for a, b in zip(first, times, strict=False)]
        spread = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        told = "" if times is first else spread
        lines.append(f"| {name} | {count / median(times):.1f} | {told} | {len(times)} |")
    return "\n".join(lines)


def peak_memory() -> float:
    """Return the peak memory of this process in MiB."""
    if DEVICE.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    # Not getrusage, because on Linux its result includes the peak of the parent process.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def memory(script: str, what: str, names: list[str], *more: str) -> str:
    """Write a table of the results of ``script --peak NAME``, and of the first divided by each."""
    lines = [
        f"\n{what}, each measured in a fresh process.\n",
        "| | MiB | memory of the first row / of this row |",
        "|---|---|---|",
    ]
    found: list[float] = []
    for name in names:
        command = [sys.executable, script, *more, "--peak", name]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found.append(float(said.split()[-1]))
        lines.append(f"| {name} | {found[-1]:,.0f} | {found[0] / found[-1]:.2f} |")
    return "\n".join(lines)
