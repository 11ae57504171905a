"""Metrics: compare two sets of images in the features of a network."""

from mezzotint.metrics.comparison import Comparison
from mezzotint.metrics.features import Features, features, gather
from mezzotint.metrics.figure import Figure, mean_figure
from mezzotint.metrics.kd import kernel_distance
from mezzotint.metrics.measure import METRICS, measure
from mezzotint.metrics.networks import NETWORKS, FeatureNetwork, network
from mezzotint.metrics.perceptual import perceptual
from mezzotint.metrics.reconstruction import psnr, ssim
from mezzotint.metrics.reference import Reference, reference
from mezzotint.metrics.scores import frechet_distance

__all__ = [
    "METRICS",
    "NETWORKS",
    "Comparison",
    "FeatureNetwork",
    "Features",
    "Figure",
    "Reference",
    "features",
    "frechet_distance",
    "gather",
    "kernel_distance",
    "mean_figure",
    "measure",
    "network",
    "perceptual",
    "psnr",
    "reference",
    "ssim",
]
