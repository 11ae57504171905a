"""Sampling and measuring a model; the images that it was measured by are kept."""

from mezzotint.evaluation.against import Against, against, pictures, training_set
from mezzotint.evaluation.measuring import (
    Measure,
    closest,
    compare,
    evaluate,
    measure,
    warn_of_few,
)
from mezzotint.evaluation.record import record, tiers
from mezzotint.evaluation.samples import Follow, Share, join, kept, stored
from mezzotint.metrics import Features, Figure
from mezzotint.metrics.measure import anything
from mezzotint.metrics.networks import choose

__all__ = [
    "Against",
    "Features",
    "Figure",
    "Follow",
    "Measure",
    "Share",
    "against",
    "anything",
    "choose",
    "closest",
    "compare",
    "evaluate",
    "join",
    "kept",
    "measure",
    "pictures",
    "record",
    "stored",
    "tiers",
    "training_set",
    "warn_of_few",
]
