"""Data: sources, the prepared array of images, their order in a training, and augmentation."""

from mezzotint.data.augment import AUGMENTATION_SIZE, flip, kornia_augmentation, non_leaking
from mezzotint.data.describing import Description, SplitDescription, describe
from mezzotint.data.find import find_source, jpegs
from mezzotint.data.images import read_image
from mezzotint.data.latents import PreparedLatents, prepare_latents
from mezzotint.data.order import rows
from mezzotint.data.prepared import Prepared
from mezzotint.data.preparing import held_out, prepare
from mezzotint.data.reading import UnreadableImage
from mezzotint.data.source import Item, Kind, Source, no_split
from mezzotint.data.sources import SOURCES

__all__ = [
    "AUGMENTATION_SIZE",
    "SOURCES",
    "Description",
    "Item",
    "Kind",
    "Prepared",
    "PreparedLatents",
    "Source",
    "SplitDescription",
    "UnreadableImage",
    "describe",
    "find_source",
    "flip",
    "held_out",
    "jpegs",
    "kornia_augmentation",
    "no_split",
    "non_leaking",
    "prepare",
    "prepare_latents",
    "read_image",
    "rows",
]
