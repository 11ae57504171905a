"""Metrics: how far one set of pictures is from another, in a network's features."""

from mezzotint.metrics.features import Features, features
from mezzotint.metrics.kernel import kernel_distance
from mezzotint.metrics.measure import METRICS, Figure, measure
from mezzotint.metrics.neighbours import neighbourhood
from mezzotint.metrics.networks import NETWORKS, FeatureNetwork, network
from mezzotint.metrics.perceptual import perceptual
from mezzotint.metrics.reconstruction import mean_figure, psnr, ssim
from mezzotint.metrics.reference import Reference, reference
from mezzotint.metrics.scores import frechet_distance, inception_score

__all__ = [
    "METRICS",
    "NETWORKS",
    "FeatureNetwork",
    "Features",
    "Figure",
    "Reference",
    "features",
    "frechet_distance",
    "inception_score",
    "kernel_distance",
    "mean_figure",
    "measure",
    "neighbourhood",
    "network",
    "perceptual",
    "psnr",
    "reference",
    "ssim",
]
