"""Training from Python: `mezzotint.train` and `mezzotint.training`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

from torch import nn

from mezzotint.config import Autoencoder, Configuration
from mezzotint.data import Prepared
from mezzotint.drawing.bars import FIRST
from mezzotint.errors import unknown
from mezzotint.networks import DiTConfig, UNetConfig, VAEConfig
from mezzotint.networks.allocator import keep_freed_memory
from mezzotint.pipeline.loading import load, load_codec
from mezzotint.run.request import Recipe, requested, start
from mezzotint.run.running import run
from mezzotint.run.steps import Progress
from mezzotint.run.trackers import TRACKERS, Copy
from mezzotint.run.watching import watch

Data: TypeAlias = str | PathLike[str] | Prepared
Net: TypeAlias = nn.Module | Callable[[], nn.Module] | UNetConfig | DiTConfig | VAEConfig


def train(
    recipe: Recipe = None,
    *,
    data: Data | None = None,
    net: Net | None = None,
    out: str | PathLike[str] | None = None,
    resume: bool = False,
    track: str | None = None,
    progress: bool | None = None,
    **fields: Any,
) -> Any:
    """Train a model, and return it.

    ```python
    pipe = mz.train("cifar10-ddpm-small", data=data, out="runs/mine", images=200_000, lr=5e-4)
    pipe = mz.train(out="runs/mine", resume=True, images=400_000)   # go on, for longer
    ```

    Args:
        recipe, data, net, out, resume, track: as `training` takes them.
        progress: True shows a bar, False none, None one on a terminal.
        **fields: as `training` takes them.

    Returns:
        The trained model, its averaged weights: a Pipeline, or the codec that an autoencoder is.

    Raises:
        UserError: as `training`.
        Interrupted: SIGINT (Ctrl-C) or SIGTERM came; the run is saved, to be resumed.
    """
    begun = start(recipe, out, resume)
    experiment, note = requested(begun, data, net, fields)
    watch(_training(experiment, begun.folder, resume, track, note), "train", progress)
    autoencoder = isinstance(experiment, Autoencoder)
    return load_codec(begun.folder) if autoencoder else load(begun.folder)


def training(
    recipe: Recipe = None,
    *,
    data: Data | None = None,
    net: Net | None = None,
    out: str | PathLike[str] | None = None,
    resume: bool = False,
    track: str | None = None,
    **fields: Any,
) -> Iterator[Progress]:
    """Train a model step by step.

    ```python
    for progress in mz.training("cifar10-ddpm-small", data=data, out="runs/mine"):
        losses.append((progress.images, progress.loss))
    ```

    A loop that is left early leaves a run that is saved, and can be resumed or loaded. On SIGINT or
    SIGTERM the step is finished and saved, and Interrupted raised. Started by torchrun, the
    processes share each batch. The memory of one step is kept for the next (on Linux): the process
    does not shrink when a training ends.

    Args:
        recipe: the name of a recipe, or a configuration. With ``resume=True`` it can be left out:
            the run's config.json says all.
        data: a data set of `prepare`, or what `prepare` takes as a name or a path; None is the
            recipe's own.
        net: a network of your own in the place of the recipe's: an nn.Module, whose weights are
            what the training begins with; or its class, or a `functools.partial` of that, which is
            called without arguments. Its ``forward(x, t, condition)`` takes x (B, C, H, W),
            t (B,) float from 0 to T - 1, and condition (B,) int64, the classes 0 to K - 1 and K for
            the null class, or None in a model without classes. It returns what is predicted, shaped
            as x. To resume or load the run in another process, pass it again. Or a UNetConfig, a
            DiTConfig or, for an autoencoder, a VAEConfig.
        out: the run's folder; None is ``runs/RECIPE``.
        resume: go on from the newest checkpoint of ``out``, if there is one, with the fields that
            the run has. ``images``, ``accumulate``, ``precision``, where the data lies, the
            intervals and how samples are made may be given anew. Where the result is then not to
            the bit that of an uninterrupted training, the first note says so.
        track: "wandb" or "tensorboard": copy the run's record there.
        **fields: fields of the recipe that shall be others, by the names of the command line's
            flags: images, batch, lr, schedule, prediction, channels, steps, guidance, size, flip
            ... Fewer ``images`` than the recipe has shorten ``warmup`` and ``ema_halflife`` in
            proportion, unless those are given.

    Yields:
        Where the training stands: before the first step, and after each.

    Raises:
        UserError: there is no such recipe or field (the nearest are offered), a value is of a wrong
            type or out of range, ``out`` holds another run, the data does not fit, or the network
            cannot be used.
    """
    begun = start(recipe, out, resume)
    experiment, note = requested(begun, data, net, fields)
    return _training(experiment, begun.folder, resume, track, note)


def _training(
    experiment: Configuration, folder: Path, resume: bool, track: str | None, note: str
) -> Iterator[Progress]:
    if track is not None and track not in TRACKERS:
        raise unknown("track", track, TRACKERS)
    copy = Copy(folder, track) if track and FIRST else None
    keep_freed_memory()
    steps = run(experiment, folder, resume, save_when_left=True, note=note)
    return copy.follow(steps) if copy else steps
