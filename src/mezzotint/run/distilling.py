"""The configuration and the task of a student that is distilled from a teacher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import torch

from mezzotint import config as configuration
from mezzotint.config import changed
from mezzotint.config.experiment import Experiment
from mezzotint.config.sampling import SampleConfig
from mezzotint.config.sections import NoiseConfig
from mezzotint.data.naming import shown
from mezzotint.diffusion.level import Schedule
from mezzotint.errors import UserError, warn
from mezzotint.interop.folder import unmatched
from mezzotint.networks import Network
from mezzotint.networks.conditions import Condition
from mezzotint.pipeline import codecs, tuned
from mezzotint.pipeline.loading import load, locate
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.run.request import Start, start
from mezzotint.storage import checkpoint
from mezzotint.storage.files import as_path
from mezzotint.trainer.distilling import DISTILLATIONS, Distillation
from mezzotint.trainer.distilling.config import DistillationConfig
from mezzotint.trainer.distilling.teacher import guide

SHARE = 4  # a student is trained on a quarter of its teacher's images
# The intervals, which are shortened like the training.
EVERY = ("log_every", "sample_every", "save_every", "evaluate_every")


def begin(teacher: str | PathLike[str], out: Any, resume: Any, fields: Mapping[str, Any]) -> Start:
    """Return the `Start` of a distillation: a new student with default settings, or a resumed run.

    Raises UserError if the model cannot be distilled, ``fields`` has a field that does not suit a
    student, or the run has another teacher.
    """
    base = made_for(student(teacher), fields)
    if fields.get("vae", base.codec.vae) != base.codec.vae:
        raise UserError("a student works in the same space as its teacher: leave out `vae`")
    if fields.get("init"):
        raise UserError("a student starts from the weights of its teacher: leave out `init`")
    new = start(base, out, resume)
    if not resume or not (new.folder / "config.json").exists():
        return new
    begun = start(None, new.folder, resume)
    was, now = (getattr(each.objective, "teacher", "") for each in (begun.base, base))  # type: ignore[union-attr]
    if was != now:
        made = f"was distilled from {was}, not from {now}" if was else "is not a distillation"
        raise UserError(f"{new.folder} {made}: choose another `out`")
    return begun


def student(teacher: str | PathLike[str]) -> Experiment:
    """Return the default configuration for distilling a model.

    Raises UserError for a model that cannot be distilled.
    """
    as_path(teacher, "teacher")  # refuses a pipeline
    folder = locate(fspath(teacher))
    config = configuration.read(_configuration(folder))
    if not isinstance(config, Experiment):
        raise UserError(f"{teacher} is an autoencoder: give a diffusion model to distil")
    if isinstance(config.objective, DistillationConfig):
        raise UserError(
            f"{teacher} is a few-step model already: give the model that it was distilled from, "
            f"{config.objective.teacher}"
        )
    try:
        found = tuned.read(folder)
    except UserError as error:
        path = folder / tuned.NAME
        raise UserError(
            f"{path} is unusable ({error}): repeat the sweep, or delete the file"
        ) from None
    guided = found.best.settings if found else config.sample
    place = str(folder.resolve()) if Path(teacher).exists() else fspath(teacher)
    data = config.data
    scale = guided.guidance if data.conditional else 1.0
    varied = ["rescale"] if guided.rescale else []
    varied += ["guidance_shape"] if guided.guidance_shape != "constant" else []
    if scale != 1 and varied:
        warn(
            f"{teacher} is sampled with `{varied[0]}`, which a student does not learn: the student "
            f"learns the constant guidance scale {scale:g}, unless you give another `scale`"
        )
    return made_for(
        replace(
            config,
            recipe=f"{config.recipe}-few",
            init="",
            freeze=(),
            net=_without_dropout(config.net),
            objective=DistillationConfig(
                teacher=place,
                # `trajectory` was the best, but draws conditions, and can draw only classes.
                method="multistep" if _conditions(folder) else "trajectory",
                scale=scale,
                guided_within=guided.interval if scale != 1 else None,
            ),
            # `made_for` sets the steps.
            sample=SampleConfig(
                "consistency", steps=1, spacing="angle", clipping=config.sample.clipping
            ),
            train=_shorter(config.train),
            **{name: -(-getattr(config, name) // SHARE) for name in EVERY},
        ),
        {},
    )


def _conditions(folder: Path) -> list[Any]:
    """Return the conditions besides the class of a run or a checkpoint, as JSON."""
    found = folder if (folder / checkpoint.MANIFEST).exists() else None
    found = found or checkpoint.newest(folder / "checkpoints", lambda _: None)
    known: list[Any] = codecs.facts(found).get("conditions", []) if found else []
    return known


def made_for(base: Experiment, fields: Mapping[str, Any]) -> Experiment:
    """Return a student's experiment, with the sampling settings that suit its objective.

    ``steps`` becomes the ``calls`` of the objective, and ``eta`` becomes the ``eta`` of its
    ``method`` in DISTILLATIONS. If ``fields`` has ``calls`` or ``method``, the objective is changed
    first.
    """
    own = {name: fields[name] for name in ("calls", "method") if name in fields}
    objective: Any = (base := changed(base, own)).objective
    return changed(base, {"steps": objective.calls, "eta": DISTILLATIONS[objective.method].eta})


def _without_dropout(net: Any) -> Any:
    """Return a network's configuration without dropout, because dropout makes outputs random."""
    return replace(net, dropout=0.0) if hasattr(net, "dropout") else net


def _shorter(train: configuration.TrainConfig) -> configuration.TrainConfig:
    """Return the training settings of a student, derived from the teacher's settings."""
    images = max(train.images // SHARE, train.batch)
    return replace(
        train,
        images=images,
        optimizer="adamw",  # the methods were measured only with AdamW
        lr=train.lr / 4,
        warmup=min(train.warmup, 20 * train.batch),
        cooldown=0.4,
        ema_halflife=max(1.0, images / 50),
        snapshots=0,
    )


def _configuration(folder: Path) -> Path:
    """Return the path of the config.json of a run or a checkpoint."""
    path = folder / "config.json"
    if (folder / "checkpoints").is_dir() or (folder / checkpoint.MANIFEST).exists():
        if path.exists():
            return path
        raise UserError(
            f"{folder} was saved without its configuration: give the run or the checkpoint from "
            "which it was saved"
        )
    raise UserError(f"{folder} is not a run or a checkpoint: give a model that mezzotint trained")


def teacher_of(experiment: Experiment, device: torch.device) -> Pipeline | None:
    """Load the teacher of a distillation; None for any other training."""
    objective = experiment.objective
    return (
        load(objective.teacher, device, "float32")
        if isinstance(objective, DistillationConfig)
        else None
    )


def check_data(
    teacher: Pipeline,
    shape: tuple[int, ...],
    classes: tuple[str, ...],
    others: tuple[Condition, ...],
) -> None:
    """Raise UserError unless the data has the shape and the conditions of the teacher's data."""
    if shape != teacher.shape:
        ours, theirs = (f"{h}x{w}x{c}" for c, h, w in (shape, teacher.shape))
        height, width = teacher.size
        channels = teacher.codec.image_shape(teacher.shape)[0]
        size = height if height == width else f'"{height}x{width}"'
        raise UserError(
            f"the data gives inputs of {ours}, but the teacher's are {theirs}: give images of "
            f"{height}x{width}x{channels}, for example with `size={size}`"
        )
    if classes != teacher.classes:
        raise UserError(
            f"the data has the classes {shown(classes, 10) or 'none'}, but the teacher has the "
            f"classes {shown(teacher.classes, 10) or 'none'}: give data with the teacher's classes"
        )
    if others != teacher.conditions:
        ours, theirs = ("; ".join(map(str, each)) for each in (others, teacher.conditions))
        raise UserError(
            f"the data has the conditions {ours or 'none'}, but the teacher has the conditions "
            f"{theirs or 'none'}: give the data that the teacher was trained on"
        )


def check_model(teacher: Pipeline, noise: NoiseConfig, net: Network) -> None:
    """Raise UserError unless a student has the teacher's prediction type, schedule and network."""
    if noise.prediction != teacher.prediction:
        raise UserError(
            f"the student predicts {noise.prediction}, but its teacher predicts "
            f"{teacher.prediction}: leave out `prediction`"
        )
    alpha = noise.build().alpha
    if alpha.shape != teacher.schedule.alpha.shape or not alpha.allclose(teacher.schedule.alpha):
        raise UserError(
            "the student has another noise schedule than its teacher: leave out the options of "
            "the schedule, such as `schedule`"
        )
    ours, theirs = (_without_dropout(each.config) for each in (net, teacher.net))
    if ours != theirs or unmatched(net.state_dict(), teacher.net.state_dict()):
        raise UserError(
            "the student has another network than its teacher: leave out the options that change "
            "the network, such as `channels` and `non_leaking`"
        )


def task_of(
    objective: DistillationConfig,
    teacher: Pipeline,
    schedule: Schedule,
    clipping: str,
    train: configuration.TrainConfig,
    dtype: torch.dtype,
) -> Distillation:
    """Return the task of a distillation.

    Raises UserError if the method draws conditions at random, but the teacher has conditions other
    than the class.
    """
    if teacher.conditions and objective.method == "trajectory":
        raise UserError(
            "the method 'trajectory' can draw classes at random, but not the other conditions of "
            "the teacher: choose another `method`"
        )
    teacher.net.compile_for(train.steps)
    return DISTILLATIONS[objective.method](
        *(objective, schedule, teacher.prediction, teacher.shape),
        guide(
            *(teacher.net, teacher.prediction, teacher.every),
            *(objective.scale, objective.guided_within),
        ),
        *(len(teacher.classes), clipping, train.images, dtype),
    )
