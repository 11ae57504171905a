"""The configuration of a run: its sections, the recipes, and config.json."""

from mezzotint.config.experiment import Autoencoder, Configuration, Experiment, Settings
from mezzotint.config.fields import changed
from mezzotint.config.file import differences, read, to_json
from mezzotint.config.migrations import VERSION
from mezzotint.config.sampling import UNGUIDED, SampleConfig
from mezzotint.config.sections import AugmentedConfig, CodecConfig, DataConfig, NoiseConfig
from mezzotint.strict import first_problem
from mezzotint.trainer.autoencoding import ReconstructionConfig
from mezzotint.trainer.loop import TrainConfig
from mezzotint.trainer.objective import ObjectiveConfig

__all__ = [
    "UNGUIDED",
    "VERSION",
    "AugmentedConfig",
    "Autoencoder",
    "CodecConfig",
    "Configuration",
    "DataConfig",
    "Experiment",
    "NoiseConfig",
    "ObjectiveConfig",
    "ReconstructionConfig",
    "SampleConfig",
    "Settings",
    "TrainConfig",
    "changed",
    "differences",
    "first_problem",
    "read",
    "to_json",
]
