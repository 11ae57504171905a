"""Compare the time of whole commands with the time of their unavoidable part.

    python benchmarks/whole_way.py                        # writes docs/results/whole-way.md
    python benchmarks/whole_way.py --only "a cold start"  # prints one part

Each command takes turns with its unavoidable part. Run nothing else on the machine meanwhile.

- a cold start: `mezzotint sample cifar10 -n 16` in a fresh process, and `import torch` alone;
- measuring: `mezzotint.evaluate` with new samples, and the calls of the network alone;
- preparing: `mezzotint.prepare` of a folder of JPEG files, a pool of processes that only decodes
  them with Pillow, and one that also scales them;
- a training step: a step of the loop with images from a prepared array, and only the forward pass,
  the backward pass and the optimizer of the same network.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np
import torch
from accelerate import Accelerator
from against_diffusers import ours
from PIL import Image, ImageFilter, ImageOps
from turns import DEVICE, Turn, take_turns

import mezzotint as mz
from mezzotint.data import Prepared, rows
from mezzotint.networks.precision import compute_dtype
from mezzotint.run.job import pixels
from mezzotint.storage import files
from mezzotint.storage.machine import machine
from mezzotint.trainer.ema import averaged
from mezzotint.trainer.loop import Examples, TrainConfig, optimizer, train
from mezzotint.trainer.objective import Diffusion, ObjectiveConfig


def cold_start(scratch: Path, pairs: int, flags: argparse.Namespace) -> str:
    """Time a fresh process that samples, and one that imports torch."""
    number = count()
    python = (sys.executable, "-c", "import torch")

    def sample() -> None:
        out = scratch / f"samples-{next(number)}"
        call(sys.executable, "-m", "mezzotint", "sample", "cifar10", "-n", "16", "--out", str(out))

    pipe = mz.load("cifar10", precision="auto")
    inside = bare_calls(pipe, 16)
    turns = {"import torch": lambda: call(*python), "sample": sample, "calls": inside}
    times = dict(take_turns(turns, pairs, {}))
    imported, whole, calls = (median(times[name]) for name in turns)
    more = [b - a for a, b in zip(times["import torch"], times["sample"], strict=True)]
    return (
        f"| a cold start: `mezzotint sample cifar10 -n 16` | {whole:.2f} s | import of torch "
        f"{imported:.2f} s, calls of the network {calls:.2f} s | {spread(more)} s more than the "
        "import |"
    )


def measuring(scratch: Path, pairs: int, flags: argparse.Namespace) -> str:
    """Time an evaluation with new samples, and the calls of the network that it makes."""
    batch, seed = 64, count(1_000)
    images = mz.load("cifar10").sample(256, seed=999).permute(0, 2, 3, 1).numpy()
    reference = mz.prepare(images, np.arange(256) % 10)
    pipe = mz.load("cifar10", precision="auto")
    bare = bare_calls(pipe, batch)

    def evaluate() -> None:
        mz.evaluate(
            *(pipe, reference),
            samples=flags.samples,
            seed=next(seed),
            batch=batch,
            network="cifar10",
        )

    blocks = -(-flags.samples // batch)
    turns = {"whole": evaluate, "bare": lambda: [bare() for _ in range(blocks)]}
    with own_cache():
        os.environ["MEZZOTINT_CACHE"] = str(scratch / "cache")  # without samples of earlier calls
        times = dict(take_turns(turns, pairs, {}))
    shares = [b / a for a, b in zip(times["whole"], times["bare"], strict=True)]
    return row(f"measuring {flags.samples:,} new samples", times, "calls of the network", shares)


def preparing(scratch: Path, pairs: int, flags: argparse.Namespace) -> str:
    """Time the preparation of a folder of JPEG files, and their decoding by a pool."""
    folder = scratch / "jpegs"
    paths = photographs(folder, flags.images)
    number = count()

    def prepare() -> None:
        os.environ["MEZZOTINT_CACHE"] = str(scratch / f"cache-{next(number)}")
        mz.prepare(folder, size=64)

    with get_context("spawn").Pool(os.cpu_count()) as pool:
        turns: dict[str, Turn] = {
            "whole": prepare,
            "bare": lambda: pool.map(decode, paths, 64),
            "scaled": lambda: pool.map(scale, paths, 64),
        }
        with own_cache():
            times = dict(take_turns(turns, pairs, {}))
    pool_of = "Pillow in a pool of processes"
    what = f"preparing {flags.images:,} JPEG files of 320x240 at 64x64"
    rows = [
        row(what, {"whole": times["whole"], "bare": times[name]}, f"{pool_of}, {does}", shares)
        for name, does in (("bare", "which only decodes"), ("scaled", "which decodes and scales"))
        for shares in [[b / a for a, b in zip(times["whole"], times[name], strict=True)]]
    ]
    return "\n".join(rows)


def step(scratch: Path, pairs: int, flags: argparse.Namespace) -> str:
    """Time a step of the training loop, and its forward, backward and optimizer alone."""
    batch, config = 64, TrainConfig(images=10**9, batch=64)
    images = np.random.default_rng(0).integers(0, 256, (4096, 32, 32, 3), np.uint8)
    data = mz.prepare(images)
    accelerator, schedule = Accelerator(cpu=DEVICE.type == "cpu"), mz.linear(1000).to(DEVICE)
    dtype = compute_dtype("auto", DEVICE)
    task = Diffusion(ObjectiveConfig(), schedule, "eps", (3, 32, 32), dtype=dtype)
    net = ours(flags.size)
    net.compile_for(config.steps)
    fast = optimizer(net, config, task)
    steps = train(
        *(accelerator, accelerator.prepare(net), averaged(net, batch, config.ema_halflife), fast),
        *(task, lambda start, n, u: Examples(drawn(data, start, n, u)), config),
    )
    x, t = (
        torch.randn(batch, 3, 32, 32, device=DEVICE),
        torch.linspace(1, 999, batch, device=DEVICE),
    )

    def bare() -> None:
        with torch.autocast(DEVICE.type, dtype, enabled=dtype != torch.float32):
            loss = net(x, t, None).float().square().mean()
        loss.backward()
        fast.step()
        fast.zero_grad(set_to_none=True)

    turns: dict[str, Turn] = {"whole": lambda: next(steps), "bare": bare}
    times = dict(take_turns(turns, 4 * pairs, {}))
    shares = [b / a for a, b in zip(times["whole"], times["bare"], strict=True)]
    return row(
        f"a training step of {batch} ({flags.size} network)",
        *(times, "forward, backward and optimizer", shares),
    )


def drawn(data: Prepared, start: int, n: int, u: torch.Tensor) -> torch.Tensor:
    """Return the images of a part of a batch, mirrored at random, as in a training."""
    return pixels(data, rows(0, start, n, len(data.images)), u[:, 0] < 0.5)


def bare_calls(pipe: mz.Pipeline, batch: int) -> Turn:
    """Return a turn with the network calls for a batch of guided samples."""
    how = pipe.defaults
    x = torch.randn(2 * batch, *pipe.shape, device=pipe.device).to(pipe.net.dtype)
    t = torch.full((2 * batch,), 500.0, device=pipe.device)
    labels = torch.cat([torch.arange(batch) % 10, torch.full((batch,), 10)]).to(pipe.device)

    @torch.inference_mode()
    def turn() -> None:
        for _ in range(how.steps):
            pipe.net(x, t, {"label": labels})

    return turn


def photographs(folder: Path, n: int) -> list[Path]:
    """Write JPEG files of blurred noise at quality 90, in two class folders."""
    generator, paths = np.random.default_rng(0), []
    several = []
    for _ in range(32):
        noise = generator.integers(0, 256, (240, 320, 3), np.uint8)
        several.append(Image.fromarray(noise).filter(ImageFilter.GaussianBlur(2)))
    for i in range(n):
        path = folder / "ab"[i % 2] / f"{i:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        several[i % 32].save(path, quality=90)
        paths.append(path)
    return paths


def decode(path: Path) -> None:
    """Decode an image, and nothing else."""
    with Image.open(path) as image:
        image.convert("RGB").load()


def scale(path: Path) -> None:
    """Decode an image, and scale it to 64x64."""
    with Image.open(path) as image:
        ImageOps.fit(image.convert("RGB"), (64, 64), Image.Resampling.BICUBIC)


@contextmanager
def own_cache() -> Iterator[None]:
    """Restore the folder of the cache at the end."""
    old = os.environ.get("MEZZOTINT_CACHE")
    try:
        yield
    finally:
        os.environ.pop("MEZZOTINT_CACHE", None)
        if old is not None:
            os.environ["MEZZOTINT_CACHE"] = old


def call(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def spread(values: list[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def row(what: str, times: dict[str, list[float]], beside: str, shares: list[float]) -> str:
    whole, bare = (median(times[name]) for name in ("whole", "bare"))
    return f"| {what} | {whole:.3g} s | {beside} {bare:.3g} s | {spread(shares)} |"


PARTS = {
    "a cold start": cold_start,
    "measuring": measuring,
    "preparing": preparing,
    "a training step": step,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=PARTS, action="append")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--samples", type=int, default=2_048)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--size", default="small", choices=("small", "35.7M"))
    parser.add_argument("--out", type=Path, default=Path("docs/results/whole-way.md"))
    flags = parser.parse_args()
    lines = []
    for name in flags.only or PARTS:
        with tempfile.TemporaryDirectory() as scratch:
            began = time.perf_counter()
            lines.append(PARTS[name](Path(scratch), flags.pairs, flags))
            print(lines[-1], f"({time.perf_counter() - began:.0f} s)", flush=True)
    if flags.only:
        return
    table = "\n".join(["| | time | unavoidable part | ratio |", "|---|---|---|---|", *lines])
    files.replace(
        flags.out,
        "# The time of whole commands\n\n"
        "The table compares the time of each command with the time of its unavoidable part. The "
        f"two were timed in turn, in {flags.pairs} rounds, or in {4 * flags.pairs} rounds for the "
        "training step. Times are medians. The last column has the speed of the command divided by "
        "the speed of its unavoidable part or, for the cold start, the time beyond the import of "
        "torch: the median over the rounds, with the least and the greatest in brackets. "
        f"Measured on {machine('torch', 'pillow')}.\n\n"
        f"```\npython benchmarks/whole_way.py\n```\n\n{table}\n",
    )


if __name__ == "__main__":
    main()
