"""The registry of the kinds of data sources, which the modules of this package define."""

from mezzotint.data.source import Kind
from mezzotint.data.sources import (
    arrays,
    cached,
    cifar10,
    folder,
    glyphs,
    hub,
    mnist,
    parquet,
    tar,
    zip,
)
from mezzotint.errors import Registry

SOURCES = Registry[Kind](
    "data source",
    {
        "glyphs": glyphs.KIND,
        "cifar10": cifar10.KIND,
        "hub": hub.KIND,
        "array": cached.KIND,
        "cifar10-copy": cifar10.COPY,
        "mnist": mnist.KIND,
        "parquet": parquet.KIND,
        "zip": zip.KIND,
        "tar": tar.KIND,
        "arrays": arrays.KIND,
        "folder": folder.KIND,  # takes every folder that no other kind takes
    },
)
"""All kinds by name. If several take a path, the first of them opens it."""
