"""Distillation: methods that train a few-step model from a teacher, one file each."""

from __future__ import annotations

from mezzotint.errors import Registry
from mezzotint.trainer.distilling.consistency import Consistency
from mezzotint.trainer.distilling.multistep import Multistep
from mezzotint.trainer.distilling.progressive import Progressive
from mezzotint.trainer.distilling.task import Distillation
from mezzotint.trainer.distilling.trajectory import Trajectory
from mezzotint.trainer.distilling.tuning import Tuning

DISTILLATIONS: Registry[type[Distillation]] = Registry(
    "method",
    {
        "consistency": Consistency,
        "multistep": Multistep,
        "tuning": Tuning,
        "progressive": Progressive,
        "trajectory": Trajectory,
    },
)
"""The methods of distillation, by name."""

__all__ = ["DISTILLATIONS", "Distillation"]
