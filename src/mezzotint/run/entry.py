"""Training from Python: `mezzotint.train` and `mezzotint.training`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from typing import Any, TypeAlias

import torch
from torch import nn

from mezzotint.config import Autoencoder
from mezzotint.data import Prepared
from mezzotint.errors import UserError, unknown
from mezzotint.networks import DiTConfig, UNetConfig, VAEConfig
from mezzotint.networks.allocator import keep_freed_memory
from mezzotint.networks.passing import held
from mezzotint.pipeline.loading import load, load_codec
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.processes import first
from mezzotint.run.distilling import begin
from mezzotint.run.request import Recipe, Start, requested, start
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
    pipe = mz.train(out="runs/mine", resume=True, images=400_000)   # resume it for longer
    ```

    Args:
        recipe: See `training`.
        data: See `training`.
        net: See `training`.
        out: See `training`.
        resume: See `training`.
        track: See `training`.
        progress: Whether to show a progress bar; None shows it on a terminal only.
        **fields: See `training`.

    Returns:
        The trained model with its averaged weights: a Pipeline, or Latents if it is an autoencoder.

    Raises:
        UserError: See `training`.
        Interrupted: If SIGINT (Ctrl-C), SIGTERM or SIGHUP stopped the training. The run is saved
            and can be resumed.
    """
    begun = start(recipe, out, resume)
    with torch.random.fork_rng([]):  # each step of a training sets the global seed, for dropout
        watch(_training(begun, data, net, resume, track, fields), "train", progress)
    return (load_codec if isinstance(begun.base, Autoencoder) else load)(begun.folder)


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

    If you leave the loop early, the run is saved, and can be resumed or loaded. On SIGINT, SIGTERM
    or SIGHUP the current step is finished, the run is saved, and Interrupted is raised. Processes
    started by torchrun share each batch. On Linux the process keeps freed memory for later steps,
    so its memory does not shrink when the training ends.

    Args:
        recipe: The name of a recipe, or a configuration. With ``resume=True`` you can leave it out,
            because config.json has the whole configuration.
        data: A data set from `prepare`, or a name or path for `prepare`; None means the data of the
            recipe.
        net: Your own network instead of the recipe's. Give an nn.Module with its initial weights;
            or a class, a `functools.partial` or a function that returns a module when it is called
            without arguments. Its ``forward(x, t, condition)`` takes x (B, C, H, W); t (B,) float
            from 0 to T - 1; and condition: None, a tensor for a model with one condition, or a dict
            of tensors. Classes are (B,) int64 from 0 to K - 1, and K for the null class. The result
            is a prediction in the shape of x, with twice the channels if ``learn_variance`` is set.
            To resume or load the run in another process, pass the network again. You can also give
            a UNetConfig, a DiTConfig or, for an autoencoder, a VAEConfig.
        out: The run's folder; None is ``runs/RECIPE``.
        resume: Whether to continue from the newest checkpoint in ``out``, if there is one, with the
            settings of that run. You may change ``images``, ``accumulate``, ``precision``,
            ``shard``, ``keep``, ``evaluate_samples``, the fields ``*_every``, the path of the data,
            and the settings for sampling. If such a change makes the result differ from an
            uninterrupted training, the ``note`` of the first `Progress` says so.
        track: The tracker to copy the run's log to, "wandb" or "tensorboard"; None copies nothing.
        **fields: Fields of the recipe to change, with the names of the flags: images, batch, lr,
            schedule, prediction, channels, steps, guidance, size, flip ... ``init`` is a model to
            start from: the training takes its network, and its averaged weights where they fit. If
            ``images`` is less than in the recipe, ``warmup`` and ``ema_halflife`` are shortened in
            proportion, unless they are given.

    Yields:
        The progress of the training, before the first step and after each step.

    Raises:
        UserError: If the recipe or a field does not exist (the message suggests similar names), a
            value has a wrong type or is out of range, ``out`` holds another run, the data does not
            fit the recipe, or the network cannot be used.
        Interrupted: If SIGINT (Ctrl-C), SIGTERM or SIGHUP stopped the training.
    """
    return _training(start(recipe, out, resume), data, net, resume, track, fields)


def distil(
    teacher: str | PathLike[str],
    *,
    data: Data | None = None,
    out: str | PathLike[str] | None = None,
    resume: bool = False,
    track: str | None = None,
    progress: bool | None = None,
    **fields: Any,
) -> Pipeline:
    """Distil a model, the teacher: train a student that makes an image in 1 to 4 denoiser calls.

    The student has the teacher's network and starts from its weights. It learns the guided output
    of the teacher, so each call evaluates the network only once. It is trained in an ordinary run
    folder, and its training can be resumed.

    ```python
    fast = mz.distil("runs/glyphs-ldm", calls=2, out="runs/glyphs-fast")
    images = fast.sample(16, labels=3)
    ```

    Args:
        teacher: The model to distil: a run, a checkpoint of a run, or the name of a shipped model.
        data: As in `training`; None means the teacher's training set.
        out: The run's folder; None is ``runs/RECIPE-few``, where RECIPE is the teacher's recipe.
        resume: As in `training`.
        track: As in `training`.
        progress: As in `train`.
        **fields: Fields to change: fields of `DistillationConfig` (method, calls, scale,
            guided_within, teacher_steps) and of any training (images, batch, lr ...). ``scale`` is
            the guidance scale of the teacher; the default is taken from the teacher's sampling
            settings.

    Returns:
        The student with its averaged weights.

    Raises:
        UserError: If the teacher cannot be distilled, if the data does not fit the teacher, or for
            any reason for which `training` raises UserError.
        Interrupted: If SIGINT (Ctrl-C), SIGTERM or SIGHUP stopped the training.
    """
    begun = begin(teacher, out, resume, fields)
    with torch.random.fork_rng([]):
        watch(_training(begun, data, None, resume, track, fields), "distil", progress)
    return load(begun.folder)


def distillation(
    teacher: str | PathLike[str],
    *,
    data: Data | None = None,
    out: str | PathLike[str] | None = None,
    resume: bool = False,
    track: str | None = None,
    **fields: Any,
) -> Iterator[Progress]:
    """Distil a model, and yield the progress of each step; see `distil` and `training`."""
    return _training(begin(teacher, out, resume, fields), data, None, resume, track, fields)


def _training(
    begun: Start,
    data: Data | None,
    net: Net | None,
    resume: bool,
    track: str | None,
    fields: Mapping[str, Any],
) -> Iterator[Progress]:
    experiment, note = requested(begun, data, net, fields)
    _check_torch()
    own = held(experiment.net)

    def enter() -> None:  # called in the first step of the caller's loop
        _check_torch()
        own()

    if track is not None and track not in TRACKERS:
        raise unknown("track", track, TRACKERS)
    copy = Copy(begun.folder, track) if track and first() else None
    keep_freed_memory()
    steps = run(experiment, begun.folder, resume, save_when_left=True, note=note, enter=enter)
    return copy.follow(steps) if copy else steps


def _check_torch() -> None:
    """Raise UserError if gradients are turned off, or torch's default type is not float32."""
    if not torch.is_grad_enabled():
        raise UserError(
            "a training needs gradients, but they are turned off: start the training outside of "
            "torch.no_grad() and torch.inference_mode()"
        )
    if (kind := torch.get_default_dtype()) != torch.float32:
        raise UserError(
            f"torch's default type is {kind}, but networks are trained in float32 or by autocast: "
            "call torch.set_default_dtype(torch.float32) first"
        )
