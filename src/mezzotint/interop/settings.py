"""The settings of a network of diffusers, as ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Settings:
    """What a network's ``config.json`` says.

    Attributes:
        kind: "unet" for UNet, "unet2d" for UNet2D, "dit" for DiT.
        fields: UNetConfig's, UNet2DConfig's or DiTConfig's.
        channels: The channels of an image.
        outputs: Those of the output: as many, or twice as many if it predicts a variance too.
        classes: K. The label embedding has K + 1 rows, of which the last is the null class.
        flipped: Whether the embedding of the time has its cosines first.
    """

    kind: Literal["unet", "unet2d", "dit"]
    fields: dict[str, Any]
    channels: int
    outputs: int
    classes: int
    flipped: bool
