"""The configuration of a run: its sections, the recipes, and config.json."""

from mezzotint.config.experiment import Autoencoder, Configuration, Experiment, Settings
from mezzotint.config.file import VERSION, differences, read, to_json
from mezzotint.config.sampling import UNGUIDED, SampleConfig
from mezzotint.config.sections import AugmentedConfig, CodecConfig, DataConfig, NoiseConfig
from mezzotint.config.strict import first_problem

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
    "SampleConfig",
    "Settings",
    "differences",
    "first_problem",
    "read",
    "to_json",
]
