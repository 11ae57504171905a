"""A feature network whose features are the pixels, so that a test can choose the features."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mezzotint.metrics import FeatureNetwork, Features, features
from mezzotint.metrics.classifier import Seen


def pixel_network(**facts: object) -> FeatureNetwork:
    """Make a network that returns the D red values of images (N, 3, 1, D) as features.

    Their unit is 20 grey levels, and 128 becomes 0. The spatial features are twice the pooled ones.
    """

    def net(images: Tensor) -> Seen:
        x = (images[:, 0].flatten(1).float() - 128) / 20
        return Seen(x, 2 * x, x)

    given = {"name": "pixels", "weights": "0" * 64, "resize": "none", "classes": ()}
    given["device"] = torch.device("cpu")
    return FeatureNetwork(net=net, **(given | facts))


def pictures(x: np.ndarray) -> np.ndarray:
    """Return the prepared array (N, 1, D, 3) with these features (N, D), rounded to 8 bits."""
    grey = np.clip(np.rint(128 + 20 * x), 0, 255).astype(np.uint8)
    return np.repeat(grey[:, None, :, None], 3, 3)


def seen(x: np.ndarray) -> Features:
    """Return the features of the network in images with these features (N, D)."""
    return features(pixel_network(), pictures(x))
