"""Train models of images with other channels, values and sides than RGB squares.

    python benchmarks/channels.py digits --out channels
    python benchmarks/channels.py halves --data ~/cifar10 --out channels
    python benchmarks/channels.py fields --out channels

- digits: the drawn digits in grey, 28x28, by class. The network pads them to 32x32.
- halves: 32x48 images, whose left and right halves show the middles of two images of CIFAR-10. The
  model in the package, which was trained on 32x32 images, is fine-tuned on them.
- fields: Gaussian random fields of 16x20 pixels with five correlated channels, float32. Their mean
  and covariance are known.

Each part trains a model in ``OUT/PART``, draws a grid of samples to ``OUT/PART.png``, and writes
its figures to ``OUT/PART.json``. `seams` compares neighbouring rows and columns. If padding or
tiles were visible, some of them would differ more in the samples than in the data.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import mezzotint as mz
from mezzotint.drawing import figures
from mezzotint.networks import UNetConfig
from mezzotint.storage.arrays import nhwc
from mezzotint.storage.machine import machine

Measured = dict[str, Any]
HEIGHT, WIDTH, CHANNELS = 16, 20, 5
BOUNDS = (-6.0, 6.0)
LENGTH = 2.0  # pixels over which a field changes


def seams(images: np.ndarray, data: np.ndarray) -> Measured:
    """Return how much neighbouring rows and columns differ, in samples and in the data.

    Args:
        images: Samples (N, H, W, C).
        data: Images of the training set (M, H, W, C).

    Returns:
        For rows and columns: the mean absolute difference at each position, divided by its mean
        over all positions, in the samples and in the data; and the largest ratio of the two.
    """
    found: Measured = {}
    for side, axis in (("rows", 1), ("columns", 2)):
        profiles = [np.abs(np.diff(x.astype(np.float64), axis=axis)) for x in (images, data)]
        axes = tuple(a for a in range(4) if a != axis)
        made, real = (p.mean(axes) / p.mean() for p in profiles)
        busy = real > 0.25  # margins without ink have almost no differences
        found[side] = {
            "samples": made.round(3).tolist(),
            "data": real.round(3).tolist(),
            "largest ratio": float((made[busy] / real[busy]).max()),
        }
    return found


def digits(options: argparse.Namespace) -> Measured:
    """Train grey 28x28 digits, and classify 500 samples with the package's classifier."""
    data = mz.prepare("glyphs", mode="grey", size=28)
    net = UNetConfig(channels=(32, 64, 64), blocks=1, attention=(), groups=8, patch=2)
    pipe = trained("glyphs-ddpm", data, options, 60_000, net=net)
    labels = [k for k in range(10) for _ in range(8)]
    grid(pipe, options, labels)
    images = pipe.sample(500, seed=1, steps=25)
    given = np.arange(500) % 10
    found = mz.compare(
        mz.prepare(nhwc(images), given, classes=data.classes, size=32),
        mz.prepare("glyphs", mode="grey", split="test"),
        network="glyphs",
    )
    named = ("fd-glyphs", "accuracy")
    read = {k: [found[k].value, found[k].low, found[k].high] for k in named if k in found}
    return {**read, **seams(nhwc(images), data.images[:5_000])}


def halves(options: argparse.Namespace) -> Measured:
    """Fine-tune the CIFAR-10 model on images of 32x48, made of two halves."""
    source = mz.prepare(options.data).images
    order = np.random.default_rng(0).permutation(len(source))
    left, right = source[:, :, 4:28], source[order][:, :, 4:28]
    data = mz.prepare(np.concatenate([left, right], axis=2))
    more = {"init": "cifar10", "conditional": False, "lr": 3e-4, "ema_halflife": 4_000.0}
    pipe = trained("cifar10-cpu", data, options, 24_000, evaluate_every=0, **more)
    grid(pipe, options, None)
    return seams(nhwc(pipe.sample(512, seed=1)), data.images[:5_000])


def truth() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean (C,) and covariance (C, C) of the channels, and the correlation by lag."""
    mean = np.linspace(-1, 1, CHANNELS)
    mixed = np.random.default_rng(7).normal(size=(CHANNELS, CHANNELS)) / CHANNELS**0.5
    covariance = mixed @ mixed.T + 0.1 * np.eye(CHANNELS)
    lags = np.exp(-((np.arange(8) / LENGTH) ** 2) / 2)
    return mean, covariance, lags


def gaussian_fields(count: int) -> np.ndarray:
    """Return fields (N, H, W, C) with the moments of `truth`, stationary in height and width."""
    mean, covariance, _ = truth()

    def root(side: int) -> np.ndarray:
        lag = np.subtract.outer(np.arange(side), np.arange(side))
        kernel = np.exp(-((lag / LENGTH) ** 2) / 2) + 1e-6 * np.eye(side)
        return np.linalg.cholesky(kernel)

    white = np.random.default_rng(0).normal(size=(count, HEIGHT, WIDTH, CHANNELS))
    white = np.einsum("hi,niwc->nhwc", root(HEIGHT), white)
    white = np.einsum("wi,nhic->nhwc", root(WIDTH), white)
    mixed = white @ np.linalg.cholesky(covariance).T + mean
    return mixed.clip(*BOUNDS).astype(np.float32)


def fields(options: argparse.Namespace) -> Measured:
    """Train on fields of five channels, and compare the samples' moments with the truth."""
    data = mz.prepare(gaussian_fields(20_000), layout="NHWC", range=BOUNDS)
    net = UNetConfig(channels=(48, 64), blocks=1, attention=(), groups=8)
    pipe = trained("glyphs-ddpm", data, options, 100_000, net=net, conditional=False, guidance=1.0)
    grid(pipe, options, None)
    images = nhwc(pipe.sample(4_000, seed=1, sampler="heun", steps=40)).astype(np.float64)
    mean, covariance, lags = truth()
    found = {name: moments(x) for name, x in (("samples", images), ("data", data.images))}
    exact = {"mean": mean, "covariance": covariance, "across": lags, "down": lags}
    return {
        "truth": {name: value.round(4).tolist() for name, value in exact.items()},
        **{of: {k: v.round(4).tolist() for k, v in each.items()} for of, each in found.items()},
        "errors": {
            of: {name: error(each[name], exact[name]) for name in exact}
            for of, each in found.items()
        },
    }


def moments(x: np.ndarray) -> dict[str, np.ndarray]:
    """Return the mean and covariance of the channels, and the correlations along both sides."""
    x = x.astype(np.float64)
    mean = x.mean((0, 1, 2))
    centred = x - mean
    covariance = np.einsum("nhwc,nhwd->cd", centred, centred) / centred[..., 0].size
    scale = centred / np.sqrt(np.diag(covariance))

    def along(axis: int) -> np.ndarray:
        turned = np.moveaxis(scale, axis, 1)
        length = turned.shape[1]
        lagged = [turned[:, : length - k] * turned[:, k:] for k in range(8)]
        return np.array([each.mean() for each in lagged])

    return {"mean": mean, "covariance": covariance, "across": along(2), "down": along(1)}


def error(found: np.ndarray, exact: np.ndarray) -> float:
    """Return the norm of the error, divided by the norm of the exact value."""
    return round(float(np.linalg.norm(found - exact) / np.linalg.norm(exact)), 4)


def trained(
    recipe: str, data: mz.Prepared, options: argparse.Namespace, images: int, **fields: Any
) -> mz.Pipeline:
    """Train a model in ``OUT/PART``, or resume its training."""
    print(data, flush=True)
    mz.example_grid(data).save(options.out / f"{options.part}-data.png")
    out, images = options.out / options.part, options.images or images
    if (out / "config.json").exists():
        return mz.train(out=out, resume=True)
    return mz.train(recipe, data=data, out=out, images=images, flip=False, **fields)


def grid(pipe: mz.Pipeline, options: argparse.Namespace, labels: list[int] | None) -> None:
    """Draw the first samples with seed 0."""
    images = pipe.sample(len(labels) if labels else 64, labels, seed=0)
    sheet = figures.grid(pipe.values.visible(images), labels, pipe.classes)
    sheet.save(options.out / f"{options.part}.png")


PARTS: dict[str, Callable[[argparse.Namespace], Measured]] = {
    "digits": digits,
    "halves": halves,
    "fields": fields,
}


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--out", type=Path, default=Path("channels"))
    parser.add_argument(
        "--data", default="cifar10", help="the path of CIFAR-10, for the part halves"
    )
    parser.add_argument("--images", type=int, help="number of images to train on")
    options = parser.parse_args()
    torch.manual_seed(0)
    options.out.mkdir(parents=True, exist_ok=True)
    found = PARTS[options.part](options)
    found["machine"] = machine()
    (options.out / f"{options.part}.json").write_text(json.dumps(found, indent=1))
    print(json.dumps(found.get("errors") or {k: found[k] for k in found if k[0] in "fa"}))


if __name__ == "__main__":
    main()
