"""Measure where a call and a training step of the 35.7M U-Net spend their time.

    python benchmarks/where_time_goes.py            # writes docs/results/profile.md
    python benchmarks/where_time_goes.py --print    # only prints the page

The times come from torch's profiler. Run nothing else on the machine meanwhile. The share of the
peak compares with the fastest product of two square matrices of the same type.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from against_diffusers import forwards, our_step, their_step
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode
from turns import DEVICE, synchronize

from mezzotint.data import Prepared, rows
from mezzotint.networks import UNet, UNetConfig
from mezzotint.networks.allocator import keep_freed_memory
from mezzotint.networks.precision import compute_dtype
from mezzotint.run.job import pixels
from mezzotint.storage.machine import machine

KINDS = {
    "convolutions": ("conv", "cudnn"),
    "group norm": ("group_norm", "_ChannelsLast", "addcmul", "aten::sum", "aten::pow", "aten::sub"),
    "SiLU": ("silu",),
    "matrix products, attention": ("mm", "attention", "softmax"),
    "sums of branches, concatenation": ("aten::add", "aten::cat"),
    "copies and casts": ("copy",),
    "optimiser, average": ("adam", "lerp", "linalg", "foreach"),
}


def shares(turn: Callable[[], object]) -> dict[str, float]:
    """Return the share of each kind of operation in a turn, after turns to warm up."""
    for _ in range(3):
        turn()
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (DEVICE.type == "cuda")
    with profile(activities=activities) as seen:
        turn()
        synchronize()
    found = dict.fromkeys([*KINDS, "the rest"], 0.0)
    for event in seen.key_averages():
        kind = next((k for k, ns in KINDS.items() if any(n in event.key for n in ns)), "the rest")
        cuda = getattr(event, "self_device_time_total", 0.0)
        found[kind] += cuda if DEVICE.type == "cuda" else event.self_cpu_time_total
    return {kind: spent / sum(found.values()) for kind, spent in found.items()}


def seconds(turn: Callable[[], object], turns: int = 5) -> float:
    """Return the median seconds of a turn, after one turn to warm up."""
    times = []
    for i in range(turns + 1):
        synchronize()
        clock = time.perf_counter()
        turn()
        synchronize()
        if i:
            times.append(time.perf_counter() - clock)
    return median(times)


def peak(dtype: torch.dtype) -> float:
    """Return the FLOP/s of the fastest product of square matrices."""

    def rate(n: int) -> float:
        a, b = torch.randn(2, n, n, device=DEVICE).to(dtype)
        return 2 * n**3 / seconds(lambda: a @ b)

    return max(rate(n) for n in (1024, 2048, 4096))


def operations(net: UNet, size: int = 32) -> int:
    """Return the FLOP of a call for one image."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.randn(1, 3, size, size, device=DEVICE), torch.zeros(1, device=DEVICE))
    return counter.get_total_flops()


def call(net: UNet, batch: int, size: int = 32) -> float:
    """Return the seconds of a call."""
    x, t = torch.randn(batch, 3, size, size, device=DEVICE), torch.zeros(batch, device=DEVICE)
    with torch.inference_mode():
        return seconds(lambda: net(x, t))


def parts() -> str:
    rooms = forwards("35.7M", 16, compiled=False)
    columns = {
        "a call of 16": shares(rooms["mezzotint"]),
        "diffusers' (autocast)": shares(rooms["diffusers, autocast"]),
        "a training step of 64": shares(our_step("35.7M", 64)),
        "diffusers' (autocast) ": shares(their_step("35.7M", 64, tuned=True)),
    }
    lines = [f"| | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    for kind in [*KINDS, "the rest"]:
        lines.append(f"| {kind} | {' | '.join(f'{c[kind]:.0%}' for c in columns.values())} |")
    return "\n".join(lines)


def growth() -> str:
    dtype = compute_dtype("auto", DEVICE)
    top = peak(dtype)
    lines = [
        f"The fastest matrix product in {str(dtype).removeprefix('torch.')} reaches "
        f"{top / 1e12:.2f} TFLOP/s on this machine. The last column is the speed as a share of "
        "this peak.\n",
        "| network | batch | side | GFLOP per image | images/s | share of the peak |",
        "|---|---|---|---|---|---|",
    ]
    wide = UNetConfig(channels=(256, 512, 512, 512))
    for name, config, batch, size in (
        ("35.7M", UNetConfig(), 1, 32),
        ("35.7M", UNetConfig(), 4, 32),
        ("35.7M", UNetConfig(), 16, 32),
        ("35.7M", UNetConfig(), 64, 32),
        ("35.7M", UNetConfig(), 16, 64),
        ("twice as wide", wide, 16, 32),
    ):
        net = UNet(config).to(DEVICE)
        work = operations(net, size)
        rate = batch / call(net.for_inference(dtype), batch, size)
        share = rate * work / top
        lines.append(f"| {name} | {batch} | {size} | {work / 1e9:.1f} | {rate:.1f} | {share:.0%} |")
    return "\n".join(lines)


def feeding() -> str:
    """Measure how fast the prepared array delivers augmented batches."""
    images = np.random.default_rng(0).integers(0, 256, (50_000, 32, 32, 3), dtype=np.uint8)
    data = Prepared(images, np.zeros(50_000, np.int64), (), "", Path(), 0)
    mirrored = torch.rand(64, device=DEVICE) < 0.5
    fed = 64 / seconds(lambda: pixels(data, rows(0, 0, 64, len(images)), mirrored), 51)
    small, large = (64 / seconds(our_step(size, 64)) for size in ("small", "35.7M"))
    return (
        f"A prepared data set delivers {fed:,.0f} images/s of 32x32, randomly mirrored, in batches "
        "of 64. "
        f"That is {fed / large:,.0f} times the speed of training the 35.7M network on this machine "
        f"({large:.1f} images/s), and {fed / small:,.0f} times the speed of training the network "
        f"of the small recipe ({small:.0f} images/s)."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--print", action="store_true", help="print the page, but do not write it")
    given = parser.parse_args()
    keep_freed_memory()
    page = "\n\n".join(
        [
            "# Where the time goes",
            f"{machine('torch', 'diffusers')}.",
            "This table shows what share of the time each kind of operation takes, in mezzotint "
            "and in diffusers. The first two columns are for one call of the network with 16 "
            "images, the others for a training step with 64 images.",
            parts(),
            "This table shows the cost of one call of the network, by the batch size and the side "
            "of the images. An image needs one call for each step, or two with guidance.",
            growth(),
            feeding(),
        ]
    )
    print(page)
    if not given.print:
        Path(__file__).parents[1].joinpath("docs", "results", "profile.md").write_text(page + "\n")


if __name__ == "__main__":
    main()
