"""Train a feature network of `mezzotint.metrics`, and write its weights.

    python scripts/train_feature_network.py cifar10 path/to/cifar10
    python scripts/train_feature_network.py glyphs glyphs

The training uses SGD with Nesterov momentum, a one-cycle learning rate, label smoothing, flips
(except for digits) and shifts of up to 2 pixels. The script writes the average of the weights over
the last tenth of the training, in float16. The test set is used once, at the end, and nothing is
chosen by it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import cross_entropy, pad
from torch.optim.swa_utils import AveragedModel, update_bn

from mezzotint.data import Prepared, prepare
from mezzotint.metrics.classifier import PACKAGED, Classifier, weights_file
from mezzotint.networks.precision import compute_dtype

BATCH, SHIFT = 256, 2
# Images seen, peak learning rate, and whether a mirrored image keeps its class.
RECIPES = {
    "cifar10": (800_000, 0.3, True),
    "glyphs": (200_000, 0.1, False),
}


def batch(images: Tensor, flip: bool, random: torch.Generator) -> Tensor:
    """Mirror and shift at random: uint8 (B, H, W, 3) -> float (B, 3, H, W) in [-1, 1]."""
    x = pad(images.permute(0, 3, 1, 2) / 127.5 - 1, (SHIFT,) * 4, mode="reflect")
    at = torch.randint(0, 2 * SHIFT + 1, (len(x), 2), generator=random)
    side = torch.arange(images.shape[1])
    down, right = (at[:, i, None] + side for i in (0, 1))
    if flip:
        mirrored = torch.rand(len(x), generator=random) < 0.5
        right = torch.where(mirrored[:, None], right.flip(1), right)
    index = torch.arange(len(x))[:, None, None]
    return x.permute(0, 2, 3, 1)[index, down[:, :, None], right[:, None]].permute(0, 3, 1, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name", choices=RECIPES)
    parser.add_argument(
        "data", help="as for `mezzotint train --data`, with a train and a test split"
    )
    parser.add_argument("--images", type=int, help="number of images to train on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", type=Path, help="the file to write; by default that in the package"
    )
    flags = parser.parse_args()
    images, peak, flip = RECIPES[flags.name]
    steps = (flags.images or images) // BATCH
    out = flags.out or weights_file(flags.name)

    torch.manual_seed(flags.seed)
    random = torch.Generator().manual_seed(flags.seed)
    train, test = prepare(flags.data), prepare(flags.data, split="test")
    dtype = compute_dtype("auto", torch.device("cpu"))
    net = Classifier(PACKAGED[flags.name].widths, len(train.classes))
    net = net.to(memory_format=torch.channels_last)
    mean = AveragedModel(net, use_buffers=False)
    optimizer = torch.optim.SGD(
        net.parameters(), lr=peak, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, peak, total_steps=steps, pct_start=0.2, anneal_strategy="linear"
    )
    order, clock = torch.empty(0, dtype=torch.int64), time.perf_counter()
    for step in range(1, steps + 1):
        if len(order) < BATCH:
            order = torch.cat([order, torch.randperm(len(train.images), generator=random)])
        rows, order = order[:BATCH], order[BATCH:]
        x = batch(torch.from_numpy(train.images[rows.numpy()]), flip, random)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            logits = net(x).logits
        loss = cross_entropy(
            logits.float(), torch.from_numpy(train.labels[rows.numpy()]), label_smoothing=0.1
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step > 0.9 * steps and step % 20 == 0:
            mean.update_parameters(net)
        if step % 100 == 0:
            rate = step * BATCH / (time.perf_counter() - clock)
            print(f"{step * BATCH:>9,} images  {rate:5.0f}/s  loss {loss:.3f}", flush=True)
    x = [batch(torch.tensor(train.images[i::50]), flip, random) for i in range(50)]
    update_bn(x, mean)
    mean.module.eval().calibrate(pictures(train))
    print(f"test accuracy {100 * accuracy(mean.module, test):.2f} %")
    out.parent.mkdir(exist_ok=True)
    weights = mean.module.state_dict().items()
    save_file({k: v.half().contiguous() for k, v in weights if v.is_floating_point()}, out)
    print(f"{out}: {out.stat().st_size:,} bytes")


@torch.inference_mode()
def accuracy(net: Classifier, test: Prepared) -> float:
    """Return the share of test images whose highest logit belongs to their class."""
    labels = torch.tensor(test.labels).split(500)
    right = [
        (net(x).logits.argmax(1) == y).sum() for x, y in zip(pictures(test), labels, strict=True)
    ]
    return float(sum(right)) / len(test.labels)


def pictures(data: Prepared) -> Iterator[Tensor]:
    """Yield a data set in order, 500 images at a time, as inputs of the network."""
    for start in range(0, len(data.images), 500):
        yield torch.tensor(data.images[start : start + 500]).permute(0, 3, 1, 2) / 127.5 - 1


if __name__ == "__main__":
    main()
