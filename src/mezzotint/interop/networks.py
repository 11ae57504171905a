"""The classes of diffusers' networks that mezzotint can read and write."""

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
    """The functions that read one class of diffusers' networks.

    Attributes:
        part: The network's name in a pipeline, which is also the name of its folder.
        settings: A function that reads the network's ``config.json``.
        weights: A function that converts the network's state dict. Its second argument is
            `Settings.flipped`, whether the time embedding has its cosines first.
    """

    part: str
    settings: Callable[[dict[str, Any]], Settings]
    weights: Callable[[dict[str, Tensor], bool], dict[str, Tensor]]


_DIT = Reader("transformer", dit_settings, dit_weights)
READERS = {
    "UNet2DModel": Reader("unet", unet_settings, unet_weights),
    "DiTTransformer2DModel": _DIT,
    "Transformer2DModel": _DIT,  # the class of a DiT in older folders
}
PARTS = tuple(dict.fromkeys(reader.part for reader in READERS.values()))
