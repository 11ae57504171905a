"""Measure the speed and peak memory of Inception features, in batches and image by image.

    python benchmarks/inception.py                                # 2,000 random images of 32x32
    python benchmarks/inception.py --count 10000 --data cifar10   # images of a data set
    OMP_NUM_THREADS=1 python benchmarks/inception.py              # on one thread

The weights are random, which does not change the speed. The ways take turns, batch by batch, in one
process. Each peak is measured in its own process. The way "one by one" resizes each image on its
own with Pillow, and its batch norms are not folded into the convolutions. Run nothing else on the
machine meanwhile.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from PIL import Image

from mezzotint.data import prepare
from mezzotint.metrics import inception
from mezzotint.metrics.inception import Inception, Taps

Way = Callable[[np.ndarray], Taps]  # uint8 (N, H, W, 3) -> features


def whole_batches(layout: torch.memory_format) -> Way:
    net = Inception().fold()

    def see(images: np.ndarray) -> Taps:
        inception.LAYOUT = layout
        return net(torch.from_numpy(images).permute(0, 3, 1, 2))

    return see


def one_by_one() -> Way:
    net = Inception()

    @torch.no_grad()
    def see(images: np.ndarray) -> Taps:
        pixels = []
        for image in images:
            resized = Image.fromarray(image).resize((299, 299), Image.Resampling.BILINEAR)
            pixels.append(torch.from_numpy((np.array(resized, np.float32) - 128) / 128))
        return net._taps(torch.stack(pixels).permute(0, 3, 1, 2).contiguous())

    return see


WAYS: dict[str, Callable[[], Way]] = {
    "mezzotint, channels last": lambda: whole_batches(torch.channels_last),
    "mezzotint, contiguous": lambda: whole_batches(torch.contiguous_format),
    "one by one": one_by_one,
}


def pictures(data: str | None, count: int) -> np.ndarray:
    if data is not None:
        return np.array(prepare(data).images[:count])
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def peak(way: str, images: np.ndarray, batch: int) -> float:
    """Return the peak MiB of this process after `way` has processed the images."""
    see = WAYS[way]()
    for start in range(0, len(images), batch):
        see(images[start : start + batch])
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held / (2**20 if sys.platform == "darwin" else 2**10)


def speeds(images: np.ndarray, batch: int) -> dict[str, float]:
    """Return the images per second of each way: the median over all batches but the first."""
    ways = {name: build() for name, build in WAYS.items()}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        for name, see in ways.items():
            begin = time.perf_counter()
            see(part)
            rates[name].append(len(part) / (time.perf_counter() - begin))
    return {name: median(rate[1:]) for name, rate in rates.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--count", type=int, default=2000, help="number of images, at least 2 batches"
    )
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--data", help="name or path of a data set; the default is 32x32 noise")
    parser.add_argument("--peak", choices=WAYS, help="print only the peak of one way, in MiB")
    given = parser.parse_args()
    if given.peak:
        print(peak(given.peak, pictures(given.data, given.count), given.batch))
        return
    peaks = {}
    for name in WAYS:  # before `speeds`, because a process starts with the peak of its parent
        command = [sys.executable, *sys.argv, "--peak", name]
        peaks[name] = float(subprocess.run(command, check=True, capture_output=True).stdout)
    rates = speeds(pictures(given.data, given.count), given.batch)
    print(f"{given.count} images in batches of {given.batch}, {torch.get_num_threads()} threads")
    for name, rate in rates.items():
        ratio = rate / rates["one by one"]
        print(f"{name:25} {rate:7.2f} images/s ({ratio:.2f}x), peak {peaks[name]:6.0f} MiB")


if __name__ == "__main__":
    main()
