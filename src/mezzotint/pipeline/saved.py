"""The folder that `Pipeline.save` writes.

| file | content |
|---|---|
| pipeline.json | the network's configuration and prediction type, the default settings |
| state.json | shape, classes, conditions, codec, fingerprint and colours of the training set |
| ema.safetensors | the weights |
| codec.safetensors | the autoencoder, if the model works on latents |
| examples.safetensors | `Pipeline.examples`: conditions of some training images, if any |
| schedule.safetensors | alpha and sigma, float64 |
| manifest.json | a SHA-256 of each file |
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import TypeAdapter, ValidationError

from mezzotint.config.sampling import SampleConfig
from mezzotint.diffusion.level import Schedule
from mezzotint.diffusion.prediction import PREDICTIONS
from mezzotint.errors import Damaged, UserError, first_of
from mezzotint.networks.custom import Custom
from mezzotint.networks.dit import DiT
from mezzotint.networks.kinds import NetConfig, augmented_by
from mezzotint.networks.unet import UNet
from mezzotint.networks.unet2d import UNet2D
from mezzotint.pipeline.codecs import conditioned, described, tensors
from mezzotint.pipeline.few_step import FewStep
from mezzotint.storage import checkpoint
from mezzotint.strict import first_problem, strict

if TYPE_CHECKING:
    from mezzotint.pipeline.pipeline import Pipeline

NAME = "pipeline.json"
# What mezzotint may have written into such a folder: optimised grids are in "grids", and an export
# has a README.md. macOS adds .DS_Store.
_WEIGHTS = (f"{name}.safetensors" for name in ("ema", "codec", "examples", "schedule"))
OWN = {NAME, "state.json", checkpoint.MANIFEST, *_WEIGHTS, "grids", "README.md", ".DS_Store"}


@strict
class SavedPipeline:
    """The content of pipeline.json."""

    net: NetConfig
    told: int
    """The number of inputs that describe the augmentation."""
    prediction: str
    learned_variance: bool
    defaults: SampleConfig
    origin: str
    """A description of the origin of the defaults."""
    version: Literal[1] = 1
    few_step: FewStep | None = None
    """The settings for which a few-step model was distilled."""

    def __post_init__(self) -> None:
        PREDICTIONS.check(self.prediction)


_ADAPTER = TypeAdapter(SavedPipeline)


def save(pipe: Pipeline, folder: Path) -> Path:
    """Write a pipeline to a folder, and return the folder; see `Pipeline.save`."""
    if not isinstance(pipe.net, UNet | DiT | UNet2D | Custom):
        raise UserError(
            f"a network of class {type(pipe.net).__name__} cannot be saved: build the pipeline "
            "from an nn.Module"
        )
    if pipe.weaker:
        raise UserError("the model is guided by a weaker model: save the two models separately")
    check_conditions(pipe)
    folder = named(folder)
    if folder.exists() and not (folder / NAME).exists():
        if not folder.is_dir() or any(folder.iterdir()):
            raise UserError(f"{folder} exists and is not a saved model: choose another folder")
        folder.rmdir()
    elif others := sorted({path.name for path in folder.glob("*")} - OWN):  # it will be replaced
        raise UserError(
            f"{folder} holds {first_of(others)} beside a saved model: move other files away, or "
            "choose another folder"
        )
    pipe = pipe.in_precision("float32")
    known = SavedPipeline(
        net=pipe.net.config,
        told=augmented_by(pipe.net),
        prediction=pipe.prediction,
        learned_variance=pipe.learned_variance,
        defaults=pipe.defaults,
        origin=pipe.defaults_from,
        few_step=pipe.few_step,
    )
    state = {
        "shape": pipe.shape,
        "classes": pipe.classes,
        "codec": described(pipe.codec),
        "colour": pipe.colour,
        "data": pipe.data,
        **pipe.values.as_json(),
        **conditioned(pipe.conditions),
    }
    schedule = {"alpha": pipe.schedule.alpha, "sigma": pipe.schedule.sigma}
    more = tensors(pipe.codec, pipe.examples)
    weights = {"ema": pipe.net.state_dict(), "schedule": schedule, **more}
    said = _ADAPTER.dump_python(known, mode="json")
    if not pipe.few_step:
        del said["few_step"]  # so that older versions can read models without few steps
    facts = {"pipeline": said, "state": state}
    return checkpoint.write(folder, weights, facts)


def check_conditions(pipe: Pipeline) -> None:
    """Raise UserError if a pipeline leaves out the conditions of its network.

    `load` builds the network of a saved or exported model from the pipeline's conditions.
    """
    if len(pipe.net.conditions) != len(pipe.every):
        raise UserError(
            "the network has conditions that the pipeline leaves out: give the pipeline the "
            "`classes` and `conditions` of the network before you save or export it"
        )


def named(folder: Path) -> Path:
    """Return a folder, with the home folder in place of ``~``.

    Raises UserError for "." and "/", which cannot be replaced.
    """
    if not folder.name:
        raise UserError(f"the folder {folder} cannot be replaced: give the name of a new folder")
    return Path(os.path.expanduser(folder))


def is_saved(folder: Path) -> bool:
    """Return whether a folder was written by `save`."""
    return (folder / NAME).exists()


def read(folder: Path) -> tuple[SavedPipeline, Schedule]:
    """Read the description and the schedule of a saved pipeline.

    Raises UserError if this version of mezzotint cannot read the description, and Damaged if the
    schedule is damaged.
    """
    try:
        known = _ADAPTER.validate_json((folder / NAME).read_bytes(), strict=True)
    except ValidationError as error:
        raise UserError(
            f"this version of mezzotint cannot read {folder / NAME} ({first_problem(error)}): use "
            "the version that wrote the file, or a newer version"
        ) from None
    tables = checkpoint.tensors(folder, "schedule")
    try:
        return known, Schedule(tables["alpha"], tables["sigma"])
    except (KeyError, UserError) as error:
        raise Damaged(
            f"{folder} is damaged: schedule.safetensors holds no schedule ({error})"
        ) from None
