"""A differentiable distance between images in the features of a network, for training."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from itertools import count
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mezzotint import devices
from mezzotint.errors import UserError
from mezzotint.metrics import efficientnet
from mezzotint.metrics.classifier import PACKAGED, load

NAMES = (*PACKAGED, "imagenet", "lpips")
SMALLEST = 16  # the least side of an image: VGG halves it four times, to one pixel
TINY = 1e-10  # added to a sum of squares, so that gradients are at most 1 / sqrt(TINY) = 1e5

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
SLICES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
SOURCE = 'the whole state dict of lpips.LPIPS(net="vgg")'

LAST = torch.channels_last
Distance = Callable[[Tensor, Tensor], Tensor]
Stage = tuple[nn.Module, Tensor]


def perceptual(name: str, device: torch.device | str = "cpu") -> Distance:
    """Load a function d(x, y) that returns the perceptual distances (B,) of images, in float32.

        d(x, y) = sum_l mean_hw sum_c w_lc (x_lchw - y_lchw)^2

    over the stages l of a network, whose features x_l, y_l are scaled to unit length over the
    channels. The names ``cifar10`` and ``glyphs`` are the package's own classifiers, and
    ``imagenet`` is EfficientNet-Lite0 of the extra ``imagenet``. With these three names, w is 1,
    and images keep their resolution. ``lpips`` is LPIPS 0.1 of VGG16 with its learned w, from the
    file that $MEZZOTINT_LPIPS names.

    Images are (B, 3, H, W), float in about [-1, 1], at least 16x16. The gradient goes to x, and to
    y if y requires a gradient; the weights are frozen. Under autocast, features are computed in
    autocast's type, and compared in float32. Distances with different names have different scales.

    Source: Zhang et al. 2018 (arXiv 1801.03924), eq. 1. Raises UserError for an unknown name, and
    if weights are not available. The distance raises UserError for images of other types or shapes.
    """
    parts = stages(name, torch.device(device))

    def distance(x: Tensor, y: Tensor) -> Tensor:
        # Channels-last is a third faster on a CPU, where other pooling of bf16 is slow.
        a, b = (z.float().contiguous(memory_format=LAST) for z in (_check(x, y), y))
        total = a.new_zeros(len(a))
        both = torch.is_grad_enabled() and y.requires_grad
        for stage, weights in parts:
            a = stage(a)
            with torch.set_grad_enabled(both):
                b = stage(b)
            difference = weights * (_unit(a) - _unit(b)).square()
            total = total + difference.sum(1).mean((1, 2))
        return total

    return distance


def stages(name: str, device: torch.device) -> list[Stage]:
    """Return the stages of the network ``name``, each with the weights w of its channels."""
    if name not in NAMES:
        raise UserError(f"there is no perceptual distance {name!r}: choose {', '.join(NAMES)}")
    with devices.loading():
        parts = MADE[name]() if name in MADE else _own(name)
    for part, _ in parts:
        part.eval().requires_grad_(False).to(device, memory_format=LAST)  # type: ignore[call-overload]
    return [(part, weights.to(device)) for part, weights in parts]


def _unit(features: Tensor) -> Tensor:
    """Scale features (B, C, H, W) to unit length over the channels."""
    x = features.float()
    return x * (x.square().sum(1, keepdim=True) + TINY).rsqrt()


def _check(x: Tensor, y: Tensor) -> Tensor:
    """Return x, after checking both images.

    Raises UserError unless x and y are float (B, 3, H, W), of the same shape and at least 16x16.
    """
    if not (x.is_floating_point() and y.is_floating_point()):
        raise UserError(f"the images are {x.dtype} and {y.dtype}: give floats in [-1, 1]")
    if x.shape != y.shape or x.ndim != 4 or x.shape[1] != 3 or min(x.shape[2:]) < SMALLEST:
        raise UserError(
            f"the images have the shapes {tuple(x.shape)} and {tuple(y.shape)}: give two batches "
            f"(B, 3, H, W) of the same shape, of at least {SMALLEST}x{SMALLEST} pixels"
        )
    return x


def _own(name: str) -> list[Stage]:
    """Return the stages of a packaged classifier, in which all channels have the weight 1."""
    net = load(name)
    return [(part, torch.ones(())) for part in (net.stem, net.first, net.middle, net.last)]


class Scaling(nn.Module):
    """Standardise images in [-1, 1] by the approximate mean and deviation of VGG's training set."""

    def __init__(self) -> None:
        super().__init__()
        self.shift: Tensor
        self.scale: Tensor
        self.register_buffer("shift", torch.tensor(SHIFT).view(3, 1, 1))
        self.register_buffer("scale", torch.tensor(SCALE).view(3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.shift) / self.scale


def vgg16() -> nn.ModuleDict:
    """Return VGG16 up to relu5_3 in the five slices of LPIPS, with torchvision's layer numbers.

    See Simonyan and Zisserman 2014 (arXiv 1409.1556).
    """
    slices, channels, number = nn.ModuleDict(), 3, count()
    for i, widths in enumerate(SLICES, 1):
        layers: list[nn.Module] = [nn.MaxPool2d(2)] if i > 1 else []
        for width in widths:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        numbered = OrderedDict((str(next(number)), layer) for layer in layers)
        slices[f"slice{i}"] = nn.Sequential(numbered)
    return slices


def _lpips() -> list[Stage]:
    """Return the stages of LPIPS, with its learned weights w of the channels."""
    vgg = vgg16()
    needed = {f"net.{key}": value.shape for key, value in vgg.state_dict().items()}
    heads = [f"lin{i}.model.1.weight" for i in range(len(SLICES))]
    needed |= {key: torch.Size((1, w[-1], 1, 1)) for key, w in zip(heads, SLICES, strict=True)}
    weights = _read(needed)
    vgg.load_state_dict({key.removeprefix("net."): weights[key] for key in needed.keys() - heads})
    first, *rest = vgg.values()
    parts = [nn.Sequential(Scaling(), first), *rest]
    return [(part, weights[key][0]) for part, key in zip(parts, heads, strict=True)]


def _read(needed: dict[str, torch.Size]) -> dict[str, Tensor]:
    """Read the tensors in the file $MEZZOTINT_LPIPS as float32.

    Raises UserError unless the tensors have the names and shapes in ``needed``.
    """
    path = os.environ.get("MEZZOTINT_LPIPS")
    if not path:
        raise UserError(
            "the LPIPS weights are not in the package: set $MEZZOTINT_LPIPS to a file with "
            f"{SOURCE}, or choose {', '.join(PACKAGED)} or imagenet"
        )
    file = Path(os.path.expanduser(path))
    if not file.is_file():
        raise UserError(f"MEZZOTINT_LPIPS is {path}, but no file is there: save {SOURCE} there")
    try:
        if file.suffix == ".safetensors":
            found = load_file(file)
        else:
            found = torch.load(file, map_location="cpu", weights_only=True)
        # Newer versions also store the constants that scale the images, and the heads twice.
        spare = ("scaling_layer.", "lins.")
        found = {k: v.float() for k, v in found.items() if not k.startswith(spare)}
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, OSError, EOFError) as error:
        raise UserError(f"{file} cannot be read: save {SOURCE} there again") from error
    except AttributeError as error:  # it does not hold tensors by name
        raise UserError(f"{file} is not a state dict: save {SOURCE} there") from error
    common = needed.keys() & found.keys()
    faults = {
        "lacks": needed.keys() - common,
        "should not have": found.keys() - common,
        "has the wrong shape of": {key for key in common if found[key].shape != needed[key]},
    }
    if text := "; ".join(f"it {what} {_some(keys)}" for what, keys in faults.items() if keys):
        raise UserError(f"{file} does not hold {SOURCE} ({text}): save it again")
    return found


def _imagenet() -> list[Stage]:
    """Return the stages of EfficientNet-Lite0; the weight w of every channel is 1."""
    first, *rest = efficientnet.load().taps()
    return [(part, torch.ones(())) for part in (nn.Sequential(ToBytes(), first), *rest)]


class ToBytes(nn.Module):
    """Scale images from [-1, 1] to [0, 255]."""

    def forward(self, x: Tensor) -> Tensor:
        return 127.5 * (x + 1)


MADE = {"imagenet": _imagenet, "lpips": _lpips}


def _some(keys: set[str], most: int = 8) -> str:
    """Return the first ``most`` names in alphabetical order, and how many more there are."""
    names = sorted(keys)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
