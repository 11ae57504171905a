"""Compare methods of filling in, enlarging and denoising at equal numbers of network calls.

    python benchmarks/editing.py --data ~/cifar10 --images 500 --calls 90 --out editing.md

The script edits held-out images of CIFAR-10 with the shipped model, and compares the results with
the originals: the mean PSNR and SSIM with their standard errors, and the Frechet distance to all
held-out images. A call is one evaluation of the network for an image; a backward pass counts as
two.

Each task and method has a result file in a folder beside the page. If this file exists, the
measurement is not repeated. The image on the page shows the first images of each task.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from skimage.restoration import inpaint_biharmonic
from torch import Tensor

import mezzotint as mz
from mezzotint.diffusion.editing.operators import average
from mezzotint.diffusion.editing.repaint import calls as calls_of
from mezzotint.drawing import figures
from mezzotint.metrics import psnr, ssim
from mezzotint.storage import files
from mezzotint.storage.arrays import nchw
from mezzotint.storage.machine import machine

NOISE = 0.2  # standard deviation, for images in [-1, 1]
SHOWN = 8  # images of each task that are drawn
COST = {"ddnm": 1, "pigdm": 3, "dps": 3, "mmps": 9}  # calls per level; MMPS has 4 backward passes


@dataclass(frozen=True)
class Result:
    """The figures of a method in a task."""

    steps: int
    calls: int
    psnr: float
    psnr_error: float
    ssim: float
    ssim_error: float
    distance: float
    low: float
    high: float
    machine: str


def middle(images: Tensor) -> Tensor:
    """Return a mask of the central half of the rows and columns."""
    mask = torch.zeros(images.shape[2:])
    rows, columns = (side // 4 for side in mask.shape)
    mask[rows:-rows, columns:-columns] = 1
    return mask


def steps_of(method: str, budget: int) -> int:
    """Return the largest number of steps that a budget of calls allows."""
    if method == "repaint":
        return max(steps for steps in range(2, budget) if calls_of(steps) <= budget)
    return budget // COST[method]


def observed(images: Tensor) -> dict[str, Tensor]:
    """Return the observation of the images in each task, float in [-1, 1]."""
    x = images.float() / 127.5 - 1
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    return {
        "fill in": x * (1 - middle(images)),
        "enlarge": average(2)(x),
        "denoise": x + NOISE * noise,
    }


def to_bytes(x: Tensor) -> Tensor:
    return (127.5 * (x + 1)).round().clamp(0, 255).to(torch.uint8)


def simple(task: str, images: Tensor, y: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Return methods that use no model."""
    if task == "enlarge":
        return {"bicubic": lambda: to_bytes(F.interpolate(y, scale_factor=2.0, mode="bicubic"))}
    if task == "denoise":
        return {"nothing": lambda: to_bytes(y)}
    hidden = middle(images).bool().numpy()

    def biharmonic() -> Tensor:
        made = [
            inpaint_biharmonic(image.permute(1, 2, 0).numpy(), hidden, channel_axis=2)
            for image in images
        ]
        return (
            (255 * torch.from_numpy(np.stack(made)))
            .round()
            .clamp(0, 255)
            .byte()
            .permute(0, 3, 1, 2)
        )

    return {"biharmonic": biharmonic}


def edited(
    pipe: mz.Pipeline,
    task: str,
    method: str,
    steps: int,
    images: Tensor,
    y: Tensor,
    labels: list[int],
) -> Tensor:
    how = {
        "steps": steps,
        "method": method,
        "guidance": 1.0,
        "sampler": "ddim",
        "spacing": "logsnr",
    }
    if task == "fill in":
        return pipe.inpaint(images, middle(images), labels, **how)
    if task == "enlarge":
        return pipe.restore(y, average(2), labels, **how)
    return pipe.restore(y, lambda x: x, labels, noise=NOISE, **how)


METHODS = {
    "fill in": ("repaint", "ddnm", "pigdm", "dps", "mmps"),
    "enlarge": ("ddnm", "pigdm", "dps", "mmps"),
    "denoise": ("pigdm", "dps", "mmps"),
}


def judged(made: Tensor, images: Tensor, held_out: mz.Prepared, steps: int, calls: int) -> Result:
    fd = mz.compare(made, held_out, network="cifar10", metrics=["fd"])["fd-cifar10"]
    scores = [
        (float(s.mean()), float(s.std() / len(s) ** 0.5))
        for s in (psnr(made, images), ssim(made, images))
    ]
    (a, da), (b, db) = scores
    return Result(steps, calls, a, da, b, db, fd.value, fd.low, fd.high, machine("torch"))


def page(folder: Path, flags: argparse.Namespace) -> str:
    head = ["task", "method", "steps", "calls", "PSNR, dB", "SSIM", "fd-cifar10", "95 % interval"]
    rows, machines = [head, ["---"] * len(head)], set()
    for task, methods in METHODS.items():
        for file in sorted(folder.glob(f"{task.replace(' ', '-')}-*.json")):
            r, method = Result(**json.loads(file.read_text())), file.stem.rpartition("-")[2]
            machines.add(r.machine)
            known = method in methods
            rows.append(
                [
                    *(task, method, str(r.steps) if known else "", str(r.calls) if known else ""),
                    *(f"{r.psnr:.2f} ± {r.psnr_error:.2f}", f"{r.ssim:.3f} ± {r.ssim_error:.3f}"),
                    *(f"{r.distance:.1f}", f"{r.low:.1f} to {r.high:.1f}"),
                ]
            )
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return (
        "# Filling in, enlarging, denoising\n\n"
        f"The shipped model edits the first {flags.images:,} held-out images of CIFAR-10, with "
        "each image's own label, guidance 1, seed 0 and at most "
        f'{flags.calls} calls of the network for each image. "Fill in" replaces the central half '
        'of the rows and columns. "Enlarge" begins with the means of 2x2 pixels. "Denoise" '
        f"removes noise with a standard deviation of {NOISE} in [-1, 1]. ± is one standard error. "
        f"Measured on {'; and on '.join(sorted(machines))}.\n\n"
        f"```\npython benchmarks/editing.py --data <CIFAR-10> --images {flags.images} --calls "
        f"{flags.calls} --out {flags.out.name}\n```\n\n{table}\n\n"
        f"![The first images of each task and method]({folder.name}/shown.png)\n"
    )


def shown(folder: Path, images: Tensor, seen: dict[str, Tensor]) -> None:
    """Draw the first images: the originals, the observations and the result of each method."""
    rows, names = [images[:SHOWN]], ["original"]
    for task in METHODS:
        given = to_bytes(seen[task][:SHOWN])
        rows.append(
            given.repeat_interleave(2, 2).repeat_interleave(2, 3) if task == "enlarge" else given
        )
        names.append(f"{task}: observed")
        for file in sorted(folder.glob(f"{task.replace(' ', '-')}-*.npy")):
            rows.append(torch.from_numpy(np.load(file)))
            names.append(file.stem.rpartition("-")[2])
    labels = [k for k, row in enumerate(rows) for _ in row]
    figures.grid(torch.cat(rows), labels, names).save(folder / "shown.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--calls", type=int, default=90)
    parser.add_argument("--model", default="cifar10")
    parser.add_argument("--out", type=Path, required=True)
    flags = parser.parse_args()
    held_out = mz.prepare(flags.data, split="test")
    images, labels = (
        nchw(np.array(held_out.images[: flags.images])),
        held_out.labels[: flags.images].tolist(),
    )
    pipe, seen, folder = mz.load(flags.model), observed(images), flags.out.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    for task, methods in METHODS.items():
        plain = simple(task, images, seen[task])
        for method in (*plain, *methods):
            file = folder / f"{task.replace(' ', '-')}-{method}.json"
            if file.exists():
                continue
            steps = 0 if method in plain else steps_of(method, flags.calls)
            if method in plain:
                made, calls = plain[method](), 0
            else:
                made = edited(pipe, task, method, steps, images, seen[task], labels)
                calls = calls_of(steps) if method == "repaint" else steps * COST[method]
            found = judged(made, images, held_out, steps, calls)
            np.save(file.with_suffix(".npy"), made[:SHOWN].numpy())
            files.replace(file, json.dumps(asdict(found), indent=1) + "\n")
            print(task, method, found, flush=True)
            shown(folder, images, seen)
            flags.out.write_text(page(folder, flags))


if __name__ == "__main__":
    main()
