"""Train conditional models, and measure how well their samples follow their conditions.

    python benchmarks/conditions.py pose --out runs/conditions
    python benchmarks/conditions.py digits --out runs/conditions
    python benchmarks/conditions.py enlarge --data ~/cifar10 --out runs/conditions

- pose: the condition is the rotation and the hue of a drawn digit, two numbers. Both are measured
  in the samples.
- digits: the condition is a set of digits (several labels at once) that the image should show.
- enlarge: the condition is an image of CIFAR-10 at 16x16, and the model makes it at 32x32. The
  samples are compared with bicubic interpolation on test images.

Each trains for minutes on a CPU, and writes a grid and a table to ``--out``, and pose also a chart.
A run that was stopped is resumed.
"""

from __future__ import annotations

import argparse
import colorsys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import mezzotint as mz
from mezzotint.data.sources import glyphs
from mezzotint.drawing import figures
from mezzotint.metrics import network, psnr

ANGLES = np.linspace(-22, 22, 89)  # rotations of the templates of a digit, in degrees
HEIGHTS = (20, 22, 24, 26)  # heights of the templates, in pixels
HALF = 16  # side of a place in an image of four places, in pixels


def trained(recipe: str, out: Path, **fields: Any) -> mz.Pipeline:
    """Train a model, or resume its training; return it."""
    again = (out / "config.json").exists()
    pipe: mz.Pipeline = mz.train(recipe, out=out, resume=again, **fields)
    return pipe


def ink(images: Tensor) -> Tensor:
    """Return the share of ink in each pixel, (N, H, W): ink is light, the background dark."""
    return ((images.amax(1).float() / 255 - 0.5) / 0.42).clamp(0, 1)


def rotations(images: Tensor, digits: np.ndarray) -> np.ndarray:
    """Return the rotation of each digit in degrees, which is the best template's."""
    found = np.zeros(len(images))
    for digit in range(10):
        rows = np.flatnonzero(digits == digit)
        stencil = glyphs._stencil(str(digit))
        drawn = [
            glyphs._posed(stencil, height, np.radians(angle), np.array([0.5, 0.5]))
            for angle in ANGLES
            for height in HEIGHTS
        ]
        masks = torch.from_numpy(np.stack(drawn)).float()
        masks = masks / masks.flatten(1).norm(dim=1)[:, None, None]
        spectra = torch.fft.rfft2(masks).conj()
        for row in rows:
            overlap = torch.fft.irfft2(torch.fft.rfft2(ink(images[row][None])) * spectra)
            best = int(overlap.flatten(1).amax(1).argmax())
            found[row] = ANGLES[best // len(HEIGHTS)]
    return found


def hues(images: Tensor) -> np.ndarray:
    """Return the hue of each background in degrees, from the median colour without ink."""
    clear = ink(images) < 0.05
    colours = [np.median(x[:, c].numpy(), 1) / 255 for x, c in zip(images, clear, strict=True)]
    return np.array([360 * colorsys.rgb_to_hsv(*colour)[0] for colour in colours])


def turned(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the difference of two hues in degrees, from -180 to 180."""
    return (a - b + 180) % 360 - 180


def pose(asked: argparse.Namespace) -> None:
    """Train with a rotation and a hue as the condition, and measure both in samples."""
    pipe = trained(
        "glyphs-ddpm", asked.out / "pose", condition=("rotation", "hue"), images=asked.images
    )
    draw, count = np.random.default_rng(0), 20 * 10
    digits = np.arange(count) % 10
    wanted = {"rotation": draw.uniform(-14, 14, count), "hue": draw.uniform(0, 360, count)}
    images = pipe.sample(count, digits.tolist(), condition=wanted, seed=1)
    test = mz.prepare("glyphs", split="test", condition=("rotation", "hue"))
    some = torch.from_numpy(test.images[:count]).permute(0, 3, 1, 2)
    lines = ["| | rotation, degrees | hue, degrees |", "|---|---|---|"]
    chart, axes = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
    drawn = {name: test.condition[name][:count, 0] for name in wanted}
    for name, these, truth in (("samples", images, wanted), ("drawn digits", some, drawn)):
        seen = rotations(these, digits), hues(these)
        wrong = seen[0] - truth["rotation"], turned(seen[1], truth["hue"])
        rms = [float(np.sqrt(np.mean(each**2))) for each in wrong]
        middle = [float(np.median(np.abs(each))) for each in wrong]
        cells = [f"{a:.2f} (median {b:.2f})" for a, b in zip(rms, middle, strict=True)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
        for axis, label, values in zip(axes, wanted, seen, strict=True):
            axis.plot(truth[label], values, "o", ms=3, alpha=0.7, label=name)
            axis.set(xlabel=f"requested {label}, degrees", ylabel="measured, degrees")
    for axis, span in zip(axes, ([-15, 15], [0, 360]), strict=True):
        axis.plot(span, span, "k-", lw=0.8)
    axes[0].legend(frameon=False)
    chart.savefig(asked.out / "pose-scatter.png", dpi=110)
    steps = np.linspace(-14, 14, 8)
    rows = [{"rotation": steps, "hue": 220.0}, {"rotation": 0.0, "hue": np.linspace(20, 340, 8)}]
    shown = [pipe.sample(8, k, condition=row, seed=3) for row in rows for k in (2, 4, 7)]
    names = [f"{k}: {what}" for what in ("rotation -14 to 14", "hue 20 to 340") for k in (2, 4, 7)]
    save(asked.out / "pose", shown, names, lines)


def four(digits: list[list[int]], draw: np.random.Generator) -> np.ndarray:
    """Draw images with the given digits in four places, uint8 (N, 32, 32, 3)."""
    whole = mz.prepare("glyphs", size=HALF)
    rows = [np.flatnonzero(whole.labels == k) for k in range(10)]
    images = np.full((len(digits), 2 * HALF, 2 * HALF, 3), 24, np.uint8)
    for image, these in zip(images, digits, strict=True):
        for place, digit in zip(draw.permutation(4), these, strict=False):
            y, x = HALF * (place // 2), HALF * (place % 2)
            image[y : y + HALF, x : x + HALF] = whole.images[draw.choice(rows[digit])]
    return images


def recognised(images: Tensor) -> np.ndarray:
    """Recognise the digits in images of four places, bool (N, 10), by the metrics' network."""
    places = images.unfold(2, HALF, HALF).unfold(3, HALF, HALF).permute(0, 2, 3, 1, 4, 5)
    places = places.reshape(-1, 3, HALF, HALF)
    large = F.interpolate(places.float(), scale_factor=2, mode="bicubic").round().clamp(0, 255)
    classes = network("glyphs")(large.to(torch.uint8)).logits.argmax(1)
    full = places.float().amax(1).flatten(1).amax(1) > 128  # a place without a digit is dark
    found = np.zeros((len(images), 10), bool)
    for i, (digit, there) in enumerate(zip(classes.tolist(), full.tolist(), strict=True)):
        found[i // 4, digit] |= there
    return found


def digits(asked: argparse.Namespace) -> None:
    """Train with a set of digits as the condition, and recognise the digits in samples."""
    draw = np.random.default_rng(0)
    sets = [draw.choice(10, draw.integers(1, 4), replace=False).tolist() for _ in range(8_000)]
    rows = np.zeros((len(sets), 10), np.uint8)
    for row, these in zip(rows, sets, strict=True):
        row[these] = 1
    data = mz.prepare(four(sets, draw), condition={"digits": rows})
    pipe = trained("glyphs-ddpm", asked.out / "digits", data=data, images=asked.images)
    wanted = [draw.choice(10, 1 + i % 3, replace=False).tolist() for i in range(150)]
    chosen = np.zeros((len(wanted), 10), bool)
    for row, these in zip(chosen, wanted, strict=True):
        row[these] = True
    images = pipe.sample(len(wanted), condition=chosen.astype(np.uint8), seed=1)
    drawn = torch.from_numpy(four(wanted, draw)).permute(0, 3, 1, 2)
    head = ["", "requested digits that are there", "digits not requested, per image"]
    head.append("images with exactly the requested digits")
    lines = [f"| {' | '.join(head)} |", "|---|---|---|---|"]
    for name, these in (("samples", images), ("drawn", drawn)):
        seen = recognised(these)
        there, more = seen[chosen].mean(), (seen & ~chosen).sum(1).mean()
        exact = (seen == chosen).all(1).mean()
        lines.append(f"| {name} | {there:.1%} | {more:.2f} | {exact:.1%} |")
    asked_for = [{"3"}, {"3", "8"}, {"3", "8", "5"}, {"1", "0"}]
    shown = [pipe.sample(8, condition={"digits": each}, seed=3) for each in asked_for]
    save(asked.out / "digits", shown, [" ".join(sorted(each)) for each in asked_for], lines)


def enlarge(asked: argparse.Namespace) -> None:
    """Train with a 16x16 image as the condition, and compare samples with interpolation."""
    whole, test = mz.prepare(asked.data), mz.prepare(asked.data, split="test")

    def small(images: np.ndarray) -> np.ndarray:
        means = images.reshape(len(images), HALF, 2, HALF, 2, 3).astype(np.float32).mean((2, 4))
        return np.rint(means).astype(np.uint8)

    data = mz.prepare(np.array(whole.images), condition={"small": small(whole.images)})
    net = mz.UNetConfig(channels=(32, 64), blocks=2, attention=(), groups=8)
    pipe = trained(
        "cifar10-ddpm-small", asked.out / "enlarge", data=data, net=net, images=asked.images,
        batch=32, guidance=1.0, ema_halflife=2_000, warmup=1_000,
    )  # fmt: skip
    some = np.array(test.images[:100])
    real, given = (torch.from_numpy(x).permute(0, 3, 1, 2) for x in (some, small(some)))
    cubic = F.interpolate(given.float(), scale_factor=2, mode="bicubic", align_corners=False)
    made = {"bicubic": cubic.round().clamp(0, 255).to(torch.uint8)}
    made["one sample"] = pipe.sample(100, condition=given, steps=20)
    more = [pipe.sample(100, condition=given, steps=20, seed=seed) for seed in range(1, 6)]
    mean = torch.stack([made["one sample"], *more]).float().mean(0)
    made["the mean of 6 samples"] = mean.round().to(torch.uint8)
    made["one step"] = pipe.sample(100, condition=given, steps=1)
    lines = ["| | PSNR, dB | standard error |", "|---|---|---|"]
    for name, images in made.items():
        each = psnr(images, real)
        lines.append(f"| {name} | {each.mean():.2f} | {each.std() / len(each) ** 0.5:.2f} |")
    large = given.repeat_interleave(2, 2).repeat_interleave(2, 3)
    shown = {"16x16": large, **made, "the image": real}
    save(asked.out / "enlarge", [x[:12] for x in shown.values()], list(shown), lines)


def save(path: Path, rows: list[Tensor], names: list[str], lines: list[str]) -> None:
    """Write a grid with a row for each name, and the lines of a table."""
    labels = [k for k, row in enumerate(rows) for _ in row]
    figures.grid(torch.cat(rows), labels, names).save(path.with_suffix(".png"))
    path.with_suffix(".md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    work = {"pose": pose, "digits": digits, "enlarge": enlarge}
    flags.add_argument("what", choices=work)
    flags.add_argument("--data", default="cifar10")
    flags.add_argument("--out", type=Path, default=Path("runs/conditions"))
    flags.add_argument("--images", type=int, default=40_000)
    asked = flags.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    work[asked.what](asked)


if __name__ == "__main__":
    main()
