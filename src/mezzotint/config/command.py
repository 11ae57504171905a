"""The command that repeats a training."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from mezzotint.config.durations import shortened
from mezzotint.config.experiment import Experiment
from mezzotint.config.fields import places, values
from mezzotint.config.paths import named
from mezzotint.config.recipes import RECIPES
from mezzotint.config.sections import DataConfig
from mezzotint.data.sizes import written
from mezzotint.networks.record import CustomConfig
from mezzotint.trainer.distilling.config import DistillationConfig

IDLE = ("log_every", "sample_every", "evaluate_every", "evaluate_samples", "save_every", "keep")
"""Fields that do not change the trained model."""
PLAIN = {"optimizer": "adamw", "accumulate": 1, "snapshots": 0, "dropout": 0.0, "freeze": ()}
"""Values that every student has unless the user chose other values."""
TAUGHT = ("data", "size", "flip", "clipping", "precision")
"""Fields that a student takes from its teacher unless the user chose other values."""
PATHS = ("data", "vae", "init")


def command(config: Experiment) -> str:
    """Return the command line that repeats a training; "" if no command line can.

    Only the last part of each path is kept. No command line can repeat a training with a network of
    the user's own, with arrays from memory, or with a configuration that is not based on a recipe.
    """
    if isinstance(config.net, CustomConfig) or config.data.data.startswith("array:"):
        return ""
    if isinstance(config.objective, DistillationConfig):
        return _line("distil", named(config.objective.teacher), _of_student(config))
    recipe = RECIPES.get(config.recipe)
    if not isinstance(recipe, Experiment):
        return ""
    images = config.train.images
    alike = replace(recipe, train=replace(recipe.train, images=images))
    now = _values(config)
    usual = _values(shortened(recipe, alike, ())[0]) | {"images": recipe.train.images}
    if config.init:  # the network comes from the model with whose weights the training started
        for name in [name for name, place in places(config).items() if place[0] == "net"]:
            if name != "dropout" or name not in usual:  # the weights fit any dropout
                now.pop(name)
    elif now.keys() != usual.keys():
        return ""
    new = {name: value for name, value in now.items() if value != usual[name] and name not in IDLE}
    return _line("train", config.recipe, new)


def _of_student(config: Experiment) -> dict[str, Any]:
    """Return the fields that the command line of a distillation states."""
    now = _values(config)
    own = [f.name for section in (config.objective, config.train) for f in fields(section)]
    names = (*TAUGHT, *own, "dropout", "freeze")
    chosen = {name: now[name] for name in names if name in now and name != "teacher"}
    usual = DataConfig()
    of_data = [
        f.name for f in fields(usual) if getattr(config.data, f.name) != getattr(usual, f.name)
    ]
    chosen |= {name: now[name] for name in of_data}
    chosen = {k: v for k, v in chosen.items() if PLAIN.get(k, ...) != v}
    # The default of `guided_within` is not None: it comes from the teacher.
    return {k: v for k, v in chosen.items() if v is not None or k == "guided_within"}


def _values(config: Experiment) -> dict[str, Any]:
    """Return the fields of a configuration by name; of each file path, only the last part."""
    found = values(config)
    return found | {name: named(found[name]) for name in PATHS if found[name]}


def _line(verb: str, subject: str, flags: Mapping[str, Any]) -> str:
    """Return a command line, ``mezzotint VERB SUBJECT --FLAG VALUE ...``."""
    words = ["mezzotint", verb, subject]
    for name, value in flags.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif name == "size":
            words += ["--size", written(value)]
        else:
            words += [f"--{flag}", *map(str, value if isinstance(value, tuple) else [value])]
    return shlex.join(words)
