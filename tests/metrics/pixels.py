"""A feature network that sees the pixels themselves, so that a test chooses the features."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mezzotint.metrics import FeatureNetwork, Features, features
from mezzotint.metrics.classifier import Seen


def pixel_network(**facts: object) -> FeatureNetwork:
    """Pictures (N, 3, 1, D) -> the D reds, in units of 20 grey levels about 128; twice that."""

    def net(images: Tensor) -> Seen:
        x = (images[:, 0].flatten(1).float() - 128) / 20
        return Seen(x, 2 * x, x)

    given = {"name": "pixels", "weights": "0" * 64, "resize": "none", "classes": ()}
    given["device"] = torch.device("cpu")
    return FeatureNetwork(net=net, **(given | facts))


def pictures(x: np.ndarray) -> np.ndarray:
    """The prepared array (N, 1, D, 3) that has these features (N, D), on an 8-bit grid."""
    grey = np.clip(np.rint(128 + 20 * x), 0, 255).astype(np.uint8)
    return np.repeat(grey[:, None, :, None], 3, 3)


def seen(x: np.ndarray) -> Features:
    """What the network sees in images of these features (N, D)."""
    return features(pixel_network(), pictures(x))
