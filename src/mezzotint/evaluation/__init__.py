"""Sample and measure a model, and keep the samples."""

from mezzotint.evaluation.against import Against, Preparation, images_of, training_set
from mezzotint.evaluation.autoencoder import of_codec, originals
from mezzotint.evaluation.edited import read_images, write_edited
from mezzotint.evaluation.film import animate, free_film
from mezzotint.evaluation.folder import grid_of, write_samples
from mezzotint.evaluation.images import of_images
from mezzotint.evaluation.measuring import (
    measure,
    measure_samples,
)
from mezzotint.evaluation.model import of_model
from mezzotint.evaluation.nearest import closest
from mezzotint.evaluation.public import compare, evaluate, fid
from mezzotint.evaluation.record import record, tiers
from mezzotint.evaluation.request import Found, Request
from mezzotint.evaluation.samples import kept, stored

__all__ = [
    "Against",
    "Found",
    "Preparation",
    "Request",
    "animate",
    "closest",
    "compare",
    "evaluate",
    "fid",
    "free_film",
    "grid_of",
    "images_of",
    "kept",
    "measure",
    "measure_samples",
    "of_codec",
    "of_images",
    "of_model",
    "originals",
    "read_images",
    "record",
    "stored",
    "tiers",
    "training_set",
    "write_edited",
    "write_samples",
]
