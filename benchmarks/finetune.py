"""Compare fine-tuning the shipped CIFAR-10 model with a longer training from random weights.

    python benchmarks/finetune.py --data ~/cifar10 --out runs/finetune

The data are 1,000 images of each of two classes. The run that starts from the shipped model sees a
quarter of the images of the run that starts from random weights. Both have the same network, batch
and sampling settings. The script measures the Frechet distance to all training images of the two
classes, with the same number of samples of each model. The shipped model is measured too. The
script writes a table, figures.md, and a grid, figures.png, to ``--out``. A run that was stopped is
resumed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import mezzotint as mz
from mezzotint.drawing import figures

CLASSES = ("cat", "dog")
SHOWN = 12


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("--data", default="cifar10")
    flags.add_argument("--out", type=Path, default=Path("runs/finetune"))
    flags.add_argument(
        "--images", type=int, default=20_000, help="images seen by the run from random weights"
    )
    flags.add_argument("--samples", type=int, default=600)
    asked = flags.parse_args()

    whole = mz.prepare(asked.data)
    numbers = [whole.classes.index(name) for name in CLASSES]
    rows = [np.flatnonzero(whole.labels == number) for number in numbers]
    few = np.concatenate([each[:1_000] for each in rows])
    data = mz.prepare(whole.images[few], np.repeat([0, 1], 1_000), classes=CLASSES)

    half = np.arange(asked.samples) % 2
    made: dict[str, Tensor] = {
        "the shipped model": mz.load("cifar10").sample(
            asked.samples, np.take(numbers, half).tolist(), seed=1
        )
    }
    short = asked.images // 4
    shared = {"batch": 64, "log_every": 640, "sample_every": asked.images, "evaluate_every": 0}
    for name, fields in {
        f"begun with it, {short:,} images": {"images": short, "init": "cifar10", "lr": 2e-4},
        f"begun with random weights, {asked.images:,} images": {"images": asked.images, "lr": 1e-3},
    }.items():
        out = asked.out / ("anew" if "init" not in fields else "begun")
        again = (out / "config.json").exists()
        durations = {"warmup": 640, "ema_halflife": fields["images"] / 16, "snapshots": 0}
        pipe = mz.train(
            *("cifar10-cpu",), data=data, out=out, resume=again, **shared, **durations, **fields
        )
        made[name] = pipe.sample(asked.samples, half.tolist(), seed=1)

    against = np.concatenate([whole.images[each] for each in rows])
    lines = ["| | `fd-cifar10` | 95 % interval |", "|---|---|---|"]
    for name, images in made.items():
        found = mz.compare(images, against, network="cifar10", metrics=("fd",))["fd-cifar10"]
        lines.append(f"| {name} | {found.value:.2f} | {found.low:.2f} to {found.high:.2f} |")
    (asked.out / "figures.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    shown = torch.cat([images[half == k][:SHOWN] for images in made.values() for k in (0, 1)])
    labels = [row for row in range(2 * len(made)) for _ in range(SHOWN)]
    names = [f"{name}: {kind}" for name in made for kind in CLASSES]
    figures.grid(shown, labels, names).save(asked.out / "figures.png")


if __name__ == "__main__":
    main()
