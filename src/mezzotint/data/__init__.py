"""Data: sources of pictures, the prepared array, the order of rows, augmentation of batches."""

from mezzotint.data.augment import flip
from mezzotint.data.find import find_source, jpegs
from mezzotint.data.images import UnreadableImage, read_image
from mezzotint.data.order import rows
from mezzotint.data.prepared import Prepared, prepare
from mezzotint.data.source import Picture, Source

__all__ = [
    "Picture",
    "Prepared",
    "Source",
    "UnreadableImage",
    "find_source",
    "flip",
    "jpegs",
    "prepare",
    "read_image",
    "rows",
]
