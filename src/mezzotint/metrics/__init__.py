"""Metrics: how far one set of pictures is from another, in a network's features."""

from mezzotint.metrics.scores import frechet_distance, inception_score

__all__ = ["frechet_distance", "inception_score"]
