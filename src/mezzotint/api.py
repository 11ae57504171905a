"""The public names, each imported from the room that defines it.

`import mezzotint` alone imports none of them, so that ``mezzotint --help`` does not wait for torch.
The first use of a name imports them all.
"""

from mezzotint.data import SOURCES, Prepared, prepare
from mezzotint.diffusion.guidance import guide
from mezzotint.diffusion.level import Level, Schedule
from mezzotint.diffusion.prediction import denoiser, to_eps, to_x0
from mezzotint.diffusion.samplers import SAMPLERS
from mezzotint.diffusion.schedules import (
    cosine,
    exponential,
    laplace,
    linear,
    scaled_linear,
    shifted,
    sigmoid,
    zero_terminal_snr,
)
from mezzotint.doctor import Finding, Findings, diagnose
from mezzotint.errors import UserError
from mezzotint.metrics.scores import frechet_distance, inception_score
from mezzotint.pages import report
from mezzotint.pipeline.loading import load, load_codec
from mezzotint.pipeline.pipeline import Pipeline

__all__ = [
    "SAMPLERS",
    "SOURCES",
    "Finding",
    "Findings",
    "Level",
    "Pipeline",
    "Prepared",
    "Schedule",
    "UserError",
    "cosine",
    "denoiser",
    "diagnose",
    "exponential",
    "frechet_distance",
    "guide",
    "inception_score",
    "laplace",
    "linear",
    "load",
    "load_codec",
    "prepare",
    "report",
    "scaled_linear",
    "shifted",
    "sigmoid",
    "to_eps",
    "to_x0",
    "zero_terminal_snr",
]
