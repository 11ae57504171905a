"""The feature networks by name: what turns pictures into the numbers that metrics compare."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from mezzotint.errors import UserError
from mezzotint.metrics import inception
from mezzotint.metrics.classifier import Seen, load

WEIGHTS = Path(__file__).parent / "weights"
WIDTHS = {"cifar10": (64, 192, 256), "glyphs": (16, 32, 64)}
CLASSES = {
    "cifar10": (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    ),
    "glyphs": tuple("0123456789"),
}
RESIZE = {
    "tf1": "TensorFlow 1's bilinear to 299x299",
    "pytorch-fid": "bilinear between pixel centres to 299x299",
}
SIDE = 32  # of the pictures that the classifiers were trained on


@dataclass(frozen=True, eq=False)
class FeatureNetwork:
    """A network with all that its figures depend on besides the pictures.

    ``network(images)`` takes uint8 (N, 3, H, W) and returns ``Seen``: pooled features (N, D),
    spatial features (N, S) and logits (N, K), float32. ``net`` is in evaluation mode for good.
    """

    name: str
    net: Callable[[Tensor], Seen]
    weights: str  # SHA-256 of the weights' file
    resize: str  # what happens to a picture before the network, in words
    classes: tuple[str, ...]  # what the logits are about, where that is known by name
    device: torch.device

    @property
    def identity(self) -> dict[str, str]:
        """What must be the same for two sets of features to be comparable."""
        return {"network": self.name, "weights": self.weights, "resize": self.resize}

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Seen:
        """Raises UserError unless the pictures are uint8 (N, 3, H, W), and for NaN features."""
        # GPUs would round to 10 bits by default; what is left out here is switched off.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            seen = self.net(check(images).to(self.device))
        if not all(part.isfinite().all() for part in seen):
            raise UserError(f"the {self.name} network gives features that are not finite")
        return Seen(*(part.float().cpu() for part in seen))


def check(images: Tensor) -> Tensor:
    """The images, if they are what a metric can be computed from: uint8 (N, 3, H, W)."""
    if images.dtype != torch.uint8:
        span = f" from {images.min():g} to {images.max():g}" if images.numel() else ""
        raise UserError(
            f"images are {str(images.dtype).removeprefix('torch.')}{span}: give uint8, 0 to 255, "
            "rounded as they would be saved"
        )
    if images.ndim != 4 or images.shape[1] != 3 or not images.numel():
        raise UserError(f"images are of shape {tuple(images.shape)}: give (N, 3, H, W)")
    return images


def _classifier(name: str, device: torch.device) -> FeatureNetwork:
    path = WEIGHTS / f"{name}.safetensors"
    classifier = load(path, WIDTHS[name], len(CLASSES[name])).to(device)

    def net(images: Tensor) -> Seen:
        x = images.float()
        if images.shape[2:] != (SIDE, SIDE):
            x = interpolate(x, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
        seen: Seen = classifier((x / 127.5 - 1).contiguous(memory_format=torch.channels_last))
        return seen

    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    resize = f"bilinear with antialias to {SIDE}x{SIDE}"
    return FeatureNetwork(name, net, digest, resize, CLASSES[name], device)


def _inception(variant: inception.Variant, device: torch.device) -> FeatureNetwork:
    module = inception.load(variant=variant).to(device)

    def net(images: Tensor) -> Seen:
        taps = module(images)
        return Seen(taps.pool2048, taps.spatial, taps.logits_unbiased)

    name = "inception" if variant == "tf1" else f"inception-{variant}"
    return FeatureNetwork(name, net, inception.SHA256, RESIZE[variant], (), device)


NETWORKS: dict[str, Callable[[torch.device], FeatureNetwork]] = {
    "cifar10": partial(_classifier, "cifar10"),
    "glyphs": partial(_classifier, "glyphs"),
    "inception": partial(_inception, "tf1"),
    "inception-pytorch-fid": partial(_inception, "pytorch-fid"),
}


def network(name: str, device: torch.device | str = "cpu") -> FeatureNetwork:
    """The feature network of that name.

    ``cifar10`` and ``glyphs`` are in the package; ``inception`` is the one that FID is defined on,
    and ``inception-pytorch-fid`` the same with that package's resize and scale: their weights come
    from $MEZZOTINT_INCEPTION or are downloaded once. Raises UserError for another name and for
    weights that cannot be had.
    """
    if name not in NETWORKS:
        raise UserError(f"there is no feature network {name!r}: choose {', '.join(NETWORKS)}")
    return NETWORKS[name](torch.device(device))


def choose(classes: tuple[str, ...]) -> str:
    """The network in the package that knows these classes, else the one for photographs."""
    return next((name for name in CLASSES if CLASSES[name] == classes), "cifar10")


def figure_name(metric: str, network: str) -> str:
    """What a distance or a score is called: FID, KID and Inception Score are Inception's alone."""
    inception, _, variant = network.partition("-")
    if inception != "inception":
        return f"{metric}-{network}"
    own = {"fd": "fid", "sfd": "sfid", "cs": "is", "kd": "kid"}[metric]
    return f"{own}-{variant}" if variant else own
