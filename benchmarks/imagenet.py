"""Measure the ImageNet model in the repository, and write docs/results/imagenet100-64.md.

    python benchmarks/imagenet.py imagenet100-64 --data tiny-imagenet-100 \\
        --out docs/results/imagenet100-64.md

The validation images of the data are measured too: no model can be expected to be better. For each
class, the page has the share of samples that the network `imagenet` recognises.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch

import mezzotint as mz
from mezzotint import metrics
from mezzotint.evaluation import samples
from mezzotint.metrics import Figure
from mezzotint.metrics.classes import places
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.storage.machine import machine

BATCH = 64
NETWORKS = ("imagenet", "cifar10")
METRICS = ("fd", "prdc", "accuracy")
ROWS = ("fd-imagenet", "fd-cifar10", "precision-imagenet", "recall-imagenet", "accuracy")
CLEARER = {"guidance": 6.0, "interval": (0.1, 6.0)}  # settings for samples of clearer classes
EXTREMES = 15  # classes at each end of the ranking
NOTES = """All images are compared with the training set. "accuracy" is the share of images that the
network `imagenet` recognises as their class, among the 100 classes. "fd" is the Frechet distance,
computed like FID, but in the features of the network; it cannot be compared with an FID. The
distance of few images is too high. Precision and recall are measured in the features of
`imagenet`. FID was not measured, because the weights of Inception were not available. The images of
the data are JPEG files, whose artefacts change every figure."""


def recognised(pipe: Pipeline, count: int) -> dict[str, float]:
    """Return the share of the kept samples of each class that `imagenet` recognises."""
    network = metrics.network("imagenet", "cpu")
    known = torch.tensor(places(network.classes, pipe.classes))
    folder = samples.kept(pipe, pipe.defaults, 0, BATCH)
    right, start = torch.zeros(len(pipe.classes)), 0
    for images in samples.stored(folder, 0, count, BATCH):
        labels = torch.tensor(pipe.labels(len(images), first=start))
        hits = network(images).logits[:, known].argmax(1) == labels
        right += torch.bincount(labels[hits], minlength=len(right))
        start += len(images)
    every = torch.tensor(pipe.labels(count))
    shares = right / torch.bincount(every, minlength=len(right))
    return dict(zip(pipe.classes, shares.tolist(), strict=True))


def line(name: str, figures: Mapping[str, Figure]) -> str:
    """Return a row of the table of figures."""
    cells = [f"{f.value:.4g} ({f.low:.4g} to {f.high:.4g})" for f in map(figures.get, ROWS) if f]
    return " | ".join(["", name, f"{figures[ROWS[0]].count:,}", *cells, ""]).strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--data", required=True)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    pipe = mz.load(given.model)
    how = {"network": NETWORKS, "metrics": METRICS}
    made, within = (
        mz.evaluate(pipe, given.data, samples=given.samples, batch=BATCH, **how, **settings)
        for settings in ({}, CLEARER)
    )
    real = mz.compare(mz.prepare(given.data, split="validation"), given.data, **how)
    ranked = sorted(recognised(pipe, given.samples).items(), key=lambda pair: -pair[1])
    best, worst = (
        ", ".join(f"{name.split(' ', 1)[-1]} ({100 * share:.0f} %)" for name, share in part)
        for part in (ranked[:EXTREMES], ranked[-EXTREMES:])
    )
    page = [
        "# The ImageNet model, measured",
        f"`python benchmarks/imagenet.py {given.model} --data <tiny-imagenet-100> "
        f"--samples {given.samples}`, on "
        f"{machine('torch')}, seed 0.",
        "\n".join(
            [
                "| | images | " + " | ".join(ROWS) + " |",
                "|---" * (len(ROWS) + 2) + "|",
                line("validation images", real),
                line(f"`{given.model}`, default settings", made),
                line("guidance 6 within 0.1 to 6", within),
            ]
        ),
        NOTES,
        "[A sweep](imagenet100-64/sweep.md) of eight settings chose the default settings. Of the "
        "settings without an interval with which at least 45 % of 1,000 samples were recognised, "
        "they have the smallest distance. With guidance 3 the distance is smaller, but fewer "
        "samples are recognised. The last row has guidance within an interval of sigma / alpha. It "
        "is not the default, because an interval does not suit every number of steps. The 1,000 "
        "samples are among those of this page. [A page](imagenet100-64/curve.md) shows the "
        "distance against the images seen. [The model's card]"
        "(../../models/imagenet100-64/README.md) describes the trainings.",
        "## Samples",
        "![Samples of ten classes, eight of each](imagenet100-64/grid.png)",
        "The samples are of every tenth class, with the default settings and seed 0. No image was "
        "chosen by eye.",
        "## Classes",
        "The share of samples that are recognised as their class, among "
        f"{given.samples // len(pipe.classes)} samples of each class:",
        f"Recognised most often: {best}.",
        f"Recognised least often: {worst}.",
    ]
    given.out.write_text("\n\n".join(page) + "\n")
    print(given.out.read_text())


if __name__ == "__main__":
    main()
