"""A laboratory for image diffusion models: train, sample and measure them.

schedule = mz.linear(1000)
grid = schedule.grid(50, spacing="leading")
x = mz.SAMPLERS["ddim"](denoise, x, grid, eta=0.0)

images = mz.load("runs/cifar10-ddpm-small").sample(16, labels=3, guidance=2.0, seed=0)
"""

from mezzotint.errors import UserError
from mezzotint.guidance import guide
from mezzotint.loading import load, load_codec
from mezzotint.metrics import frechet_distance, inception_score
from mezzotint.noise import (
    Level,
    Schedule,
    cosine,
    exponential,
    laplace,
    linear,
    scaled_linear,
    shifted,
    sigmoid,
    zero_terminal_snr,
)
from mezzotint.pipeline import Pipeline
from mezzotint.predict import to_eps, to_x0
from mezzotint.samplers import SAMPLERS

__version__ = "0.1.0"

__all__ = [
    "SAMPLERS",
    "Level",
    "Pipeline",
    "Schedule",
    "UserError",
    "cosine",
    "exponential",
    "frechet_distance",
    "guide",
    "inception_score",
    "laplace",
    "linear",
    "load",
    "load_codec",
    "scaled_linear",
    "shifted",
    "sigmoid",
    "to_eps",
    "to_x0",
    "zero_terminal_snr",
]
