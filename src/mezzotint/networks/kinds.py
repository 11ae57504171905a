"""The kinds of networks that a configuration can name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeAlias

from pydantic import Field

from mezzotint.networks.custom import Custom
from mezzotint.networks.dit import DiT, DiTConfig
from mezzotint.networks.network import Conditioned, Network
from mezzotint.networks.passing import made
from mezzotint.networks.record import CustomConfig
from mezzotint.networks.unet import UNet, UNetConfig
from mezzotint.networks.unet2d import UNet2D, UNet2DConfig

NetConfig: TypeAlias = Annotated[
    UNetConfig | DiTConfig | UNet2DConfig | CustomConfig, Field(discriminator="kind")
]
KINDS: dict[type, Callable[..., Network]] = {
    UNetConfig: UNet,
    DiTConfig: DiT,
    UNet2DConfig: UNet2D,
}


def build(
    config: UNetConfig | DiTConfig | UNet2DConfig | CustomConfig,
    channels: int,
    classes: int,
    outputs: int | None = None,
    told: int = 0,
) -> Network:
    """Make the network of a configuration.

    Args:
        config: its shape, or the record of a network of the user's own.
        channels: of the images.
        classes: K, 0 for an unconditional network.
        outputs: its output's channels; None is as many as the images have.
        told: how many numbers it takes about the augmentation.

    Raises:
        UserError: a network of the user's own was not passed in this process.
    """
    if isinstance(config, CustomConfig):
        return Custom(made(config), config, classes)
    return KINDS[type(config)](config, channels, classes, outputs, told)


def augmented_by(net: Network) -> int:
    """How many numbers about the augmentation a network takes."""
    layer = net.augmentation if isinstance(net, Conditioned) else None
    return layer.in_features if layer else 0
