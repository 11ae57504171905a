"""The kinds of networks that a configuration can name."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field

from mezzotint.networks.custom import Custom
from mezzotint.networks.dit import DiT, DiTConfig
from mezzotint.networks.network import Conditioned, Network
from mezzotint.networks.passing import made
from mezzotint.networks.record import CustomConfig
from mezzotint.networks.unet import UNet, UNetConfig

NetConfig: TypeAlias = Annotated[UNetConfig | DiTConfig | CustomConfig, Field(discriminator="kind")]


def build(
    config: UNetConfig | DiTConfig | CustomConfig,
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
    kind = UNet if isinstance(config, UNetConfig) else DiT
    return kind(config, channels, classes, outputs, told)  # type: ignore[arg-type]


def augmented_by(net: Network) -> int:
    """How many numbers about the augmentation a network takes."""
    layer = net.augmentation if isinstance(net, Conditioned) else None
    return layer.in_features if layer else 0
