"""The kinds of network that a configuration can name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, TypeAlias

from pydantic import Field

from mezzotint.networks.conditions import Condition
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
    augmentation: int = 0,
    conditions: Sequence[Condition] = (),
) -> Network:
    """Build the network that a configuration describes.

    Args:
        config: The dimensions of the network, or the `CustomConfig` of a user's own network.
        channels: C, the number of channels of x, which is an image or latents.
        classes: The number of classes K; 0 for an unconditional network.
        outputs: The number of channels of the output; None means C.
        augmentation: The number of inputs that describe the augmentation.
        conditions: The conditions besides the class.

    Raises:
        UserError: If the configuration names a user's own network that the user has not passed to
            mezzotint in this process.
    """
    if isinstance(config, CustomConfig):
        return Custom(made(config), config, classes, conditions)
    return KINDS[type(config)](config, channels, classes, outputs, augmentation, conditions)


def augmented_by(net: Network) -> int:
    """Return how many inputs of a network describe the augmentation; 0 if none do."""
    layer = net.augmentation if isinstance(net, Conditioned) else None
    return layer.in_features if layer else 0
