"""The configuration of a run: its sections, the recipes, and config.json."""

from mezzotint.config.experiment import Autoencoder, Configuration, Experiment
from mezzotint.config.fields import changed
from mezzotint.config.file import differences, read, to_json
from mezzotint.config.sampling import SampleConfig
from mezzotint.trainer.loop import TrainConfig

__all__ = [
    "Autoencoder",
    "Configuration",
    "Experiment",
    "SampleConfig",
    "TrainConfig",
    "changed",
    "differences",
    "read",
    "to_json",
]
