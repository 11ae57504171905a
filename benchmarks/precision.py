"""Compare the samples of models in bf16 and in float32.

    python benchmarks/precision.py cifar10 runs/glyphs --data ~/cifar10 \\
        --out docs/results/precision.md

Shipped models are compared with ``--data``, and runs with their own training sets.

The script samples each model in float32 and in bf16 from the same noise. It compares the Frechet
distance and the class accuracy, with their intervals, and the images themselves. Samples and
figures are stored, so a second call continues the first.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

import mezzotint as mz
from mezzotint.metrics import psnr
from mezzotint.storage import files
from mezzotint.storage.machine import machine

SHOWN = 256  # images that are compared one by one


def apart(model: str) -> tuple[float, float, float]:
    """Return the median and least PSNR of the bf16 images, and the share of equal levels."""
    exact, low = (mz.load(model, precision=p).sample(SHOWN) for p in ("float32", "bf16"))
    scores = psnr(low, exact)
    return float(scores.median()), float(scores.min()), float((low == exact).float().mean())


def said(figure: mz.Figure, digits: int) -> str:
    """Return a figure with its interval."""
    return f"{figure.value:.{digits}f} ({figure.low:.{digits}f} to {figure.high:.{digits}f})"


def row(model: str, data: str | None, samples: int) -> list[str]:
    """Return the cells of a model; ``data`` is None for its own training set."""
    measured = []
    for precision in ("float32", "bf16"):
        print(model, precision, flush=True)
        chosen: dict[str, Any] = {"metrics": ("fd", "accuracy"), "precision": precision}
        measured.append(mz.evaluate(model, data, samples=samples, **chosen))
    names = sorted(measured[0])  # accuracy first, then the distance
    exact, low = ([found[name] for name in names] for found in measured)
    within = all(a.low <= b.value <= a.high for a, b in zip(exact, low, strict=True))
    median, least, same = apart(model)
    return [
        Path(model).name,
        names[1],
        *(said(found[1], 2) for found in (exact, low)),
        *(said(found[0], 3) for found in (exact, low)),
        "yes" if within else "no",
        f"{median:.1f} ({least:.1f})",
        f"{same:.1%}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", help="names of shipped models, and runs")
    parser.add_argument("--data", help="the data to compare shipped models with")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--out", type=Path, required=True)
    flags = parser.parse_args()
    torch.set_grad_enabled(False)
    head = ["model", "distance", "in float32", "in bf16", "accuracy in float32", "in bf16"]
    head += ["within the interval", "PSNR in dB", "equal pixel values"]
    rows = [head, ["---"] * len(head)]
    for model in flags.models:
        rows.append(row(model, None if Path(model).exists() else flags.data, flags.samples))
        print(rows[-1], flush=True)
    table = "\n".join(f"| {' | '.join(each)} |" for each in rows)
    text = (
        "# bf16 and float32\n\n"
        f"Each model has its default settings and makes {flags.samples:,} samples with seed 0, "
        "from the same noise in both precisions. The distance is `fd-cifar10` or `fd-glyphs`, with "
        '95 % intervals. The column "within the interval" says whether the figures in bf16 lie '
        f"within the intervals of float32. The last two columns compare {SHOWN} images in bf16 "
        "with those in float32: the median PSNR, with the least in brackets, and the share of "
        "equal pixel values.\n\n"
        f"Measured on {machine('torch')}.\n\n"
        f"```\npython benchmarks/precision.py {' '.join(flags.models)} --data <CIFAR-10> "
        f"--samples {flags.samples} --out docs/results/{flags.out.name}\n```\n\n{table}\n"
    )
    files.replace(flags.out, text)


if __name__ == "__main__":
    main()
