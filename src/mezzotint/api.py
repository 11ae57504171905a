"""The public names, each imported from the package that defines it.

`import mezzotint` alone imports none of them, so that ``mezzotint --help`` does not wait for torch.
The first use of a name imports them all.
"""

from mezzotint.config.experiment import Autoencoder, Experiment
from mezzotint.config.recipes import RECIPES
from mezzotint.config.sampling import SampleConfig
from mezzotint.config.sections import AugmentedConfig, CodecConfig, DataConfig, NoiseConfig
from mezzotint.data import SOURCES, Description, Prepared, SplitDescription, describe, prepare
from mezzotint.data.showing import example_grid
from mezzotint.devices import use_device
from mezzotint.diffusion.editing import OPERATORS, POSTERIORS, Operator
from mezzotint.diffusion.guidance import CLIPPINGS, GUIDANCE_SHAPES, guide
from mezzotint.diffusion.level import Level, Schedule
from mezzotint.diffusion.prediction import PREDICTIONS, denoiser, to_eps, to_x0
from mezzotint.diffusion.samplers import SAMPLERS, Sampler
from mezzotint.diffusion.schedules import (
    SCHEDULES,
    cosine,
    exponential,
    laplace,
    linear,
    scaled_linear,
    shifted,
    sigmoid,
    zero_terminal_snr,
)
from mezzotint.diffusion.spacings import SPACINGS
from mezzotint.doctor import Finding, Findings, diagnose
from mezzotint.errors import Interrupted, UserError
from mezzotint.evaluation import (
    animate,
    compare,
    evaluate,
    fid,
    read_images,
    write_edited,
    write_samples,
)
from mezzotint.metrics import METRICS, Figure
from mezzotint.metrics.scores import frechet_distance, inception_score
from mezzotint.networks import VAE, DiT, DiTConfig, UNet, UNetConfig, VAEConfig
from mezzotint.networks.conditions import ImageCondition, NumbersCondition, TagsCondition
from mezzotint.pages import report
from mezzotint.paper import ReproducedRow, Reproduction, reproduce
from mezzotint.pipeline.few_step import FewStep
from mezzotint.pipeline.loading import load, load_codec
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.run.averages import Average, average
from mezzotint.run.entry import distil, train, training
from mezzotint.run.steps import Progress
from mezzotint.trainer.autoencoding import ReconstructionConfig
from mezzotint.trainer.distilling import DISTILLATIONS
from mezzotint.trainer.distilling.config import DistillationConfig
from mezzotint.trainer.loop import TrainConfig
from mezzotint.trainer.objective import WEIGHTINGS, ObjectiveConfig
from mezzotint.trainer.optimizers import OPTIMIZERS
from mezzotint.tuning import SweepCell, SweepResult, sweep
from mezzotint.ui.serving import Playground, play

__all__ = [
    "CLIPPINGS",
    "DISTILLATIONS",
    "GUIDANCE_SHAPES",
    "METRICS",
    "OPERATORS",
    "OPTIMIZERS",
    "POSTERIORS",
    "PREDICTIONS",
    "RECIPES",
    "SAMPLERS",
    "SCHEDULES",
    "SOURCES",
    "SPACINGS",
    "VAE",
    "WEIGHTINGS",
    "AugmentedConfig",
    "Autoencoder",
    "Average",
    "CodecConfig",
    "DataConfig",
    "Description",
    "DiT",
    "DiTConfig",
    "DistillationConfig",
    "Experiment",
    "FewStep",
    "Figure",
    "Finding",
    "Findings",
    "ImageCondition",
    "Interrupted",
    "Level",
    "NoiseConfig",
    "NumbersCondition",
    "ObjectiveConfig",
    "Operator",
    "Pipeline",
    "Playground",
    "Prepared",
    "Progress",
    "ReconstructionConfig",
    "ReproducedRow",
    "Reproduction",
    "SampleConfig",
    "Sampler",
    "Schedule",
    "SplitDescription",
    "SweepCell",
    "SweepResult",
    "TagsCondition",
    "TrainConfig",
    "UNet",
    "UNetConfig",
    "UserError",
    "VAEConfig",
    "animate",
    "average",
    "compare",
    "cosine",
    "denoiser",
    "describe",
    "diagnose",
    "distil",
    "evaluate",
    "example_grid",
    "exponential",
    "fid",
    "frechet_distance",
    "guide",
    "inception_score",
    "laplace",
    "linear",
    "load",
    "load_codec",
    "play",
    "prepare",
    "read_images",
    "report",
    "reproduce",
    "scaled_linear",
    "shifted",
    "sigmoid",
    "sweep",
    "to_eps",
    "to_x0",
    "train",
    "training",
    "use_device",
    "write_edited",
    "write_samples",
    "zero_terminal_snr",
]
