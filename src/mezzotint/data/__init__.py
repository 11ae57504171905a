"""Data: sources of pictures, the prepared array, the order of rows, augmentation of batches."""

from mezzotint.data.augment import TOLD, flip, kornia_augmentation, non_leaking
from mezzotint.data.find import find_source, jpegs
from mezzotint.data.images import UnreadableImage, read_image
from mezzotint.data.latents import PreparedLatents, prepare_latents
from mezzotint.data.order import rows
from mezzotint.data.prepared import Prepared
from mezzotint.data.preparing import held_out, prepare
from mezzotint.data.source import Picture, Source

__all__ = [
    "TOLD",
    "Picture",
    "Prepared",
    "PreparedLatents",
    "Source",
    "UnreadableImage",
    "find_source",
    "flip",
    "held_out",
    "jpegs",
    "kornia_augmentation",
    "non_leaking",
    "prepare",
    "prepare_latents",
    "read_image",
    "rows",
]
