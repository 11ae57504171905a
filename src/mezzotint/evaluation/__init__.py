"""Sample and measure a model, and keep the samples."""

from mezzotint.evaluation.against import Against, Preparation, images_of, training_set
from mezzotint.evaluation.autoencoder import of_codec, originals
from mezzotint.evaluation.edited import read_images, write_edited
from mezzotint.evaluation.film import animate, free_film
from mezzotint.evaluation.folder import grid_of, write_samples
from mezzotint.evaluation.images import of_images
from mezzotint.evaluation.measuring import (
    Measure,
    measure,
    measure_images,
    measure_samples,
    warn_of_few,
)
from mezzotint.evaluation.model import of_model
from mezzotint.evaluation.nearest import closest
from mezzotint.evaluation.public import compare, evaluate, fid
from mezzotint.evaluation.record import record, tiers
from mezzotint.evaluation.request import Found, Request
from mezzotint.evaluation.samples import Follow, kept, stored
from mezzotint.metrics import Features, Figure
from mezzotint.metrics.measure import anything
from mezzotint.metrics.networks import choose

__all__ = [
    "Against",
    "Features",
    "Figure",
    "Follow",
    "Found",
    "Measure",
    "Preparation",
    "Request",
    "animate",
    "anything",
    "choose",
    "closest",
    "compare",
    "evaluate",
    "fid",
    "free_film",
    "grid_of",
    "images_of",
    "kept",
    "measure",
    "measure_images",
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
    "warn_of_few",
    "write_edited",
    "write_samples",
]
