"""The networks of diffusers that are read and written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mezzotint.interop.dit import dit_settings, dit_weights
from mezzotint.interop.settings import Settings
from mezzotint.interop.unet import unet_settings, unet_weights


@dataclass(frozen=True)
class Reader:
    """How a class of diffusers' networks is read.

    Attributes:
        part: What a pipeline names the network, which is also its folder.
        settings: Reads its ``config.json``.
        weights: Turns its state dict into ours; takes `Settings.flipped` besides.
    """

    part: str
    settings: Callable[[dict[str, Any]], Settings]
    weights: Callable[[dict[str, Tensor], bool], dict[str, Tensor]]


_DIT = Reader("transformer", dit_settings, dit_weights)
READERS = {
    "UNet2DModel": Reader("unet", unet_settings, unet_weights),
    "DiTTransformer2DModel": _DIT,
    "Transformer2DModel": _DIT,  # as older folders name it
}
PARTS = tuple(dict.fromkeys(reader.part for reader in READERS.values()))
