"""The settings of a diffusers network, converted to the settings of a mezzotint network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Settings:
    """The settings in a network's ``config.json``.

    Attributes:
        kind: "unet" for UNet, "unet2d" for UNet2D, "dit" for DiT.
        fields: The fields of UNetConfig, UNet2DConfig or DiTConfig.
        channels: The channels of x, an image or latents.
        outputs: The channels of the output: the same number, or twice that number if the network
            also predicts a variance.
        classes: The number of classes K. The label embedding has K + 1 rows; the last is the null
            class.
        flipped: Whether the time embedding has its cosines first.
    """

    kind: Literal["unet", "unet2d", "dit"]
    fields: dict[str, Any]
    channels: int
    outputs: int
    classes: int
    flipped: bool
