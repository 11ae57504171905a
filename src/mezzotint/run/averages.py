"""Rebuild averages of a run's weights, of any length, from snapshots of two short averages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from mezzotint.errors import Damaged, UserError, warn
from mezzotint.interop.folder import json_object, unmatched
from mezzotint.pipeline import codecs
from mezzotint.storage import checkpoint
from mezzotint.storage.files import as_folder, as_path
from mezzotint.trainer.posthoc import coefficients, exponent

POOR = 0.01  # relative error; 100 snapshots stay below it for lengths from 0.025 to 0.25


@dataclass(frozen=True)
class Average:
    """An average of a run's weights; ``load(average.path)`` is the model with these weights.

    Attributes:
        path: The checkpoint of the average.
        length: ``std / N``, where N is the number of steps, and std is the standard deviation of
            the step numbers, each weighted as in the average.
        error: The relative error of the fit; see `average`.
    """

    path: Path
    length: float
    error: float


def average(
    run: str | Path, length: float | Iterable[float], out: str | Path | None = None
) -> list[Average]:
    """Rebuild averages of a run's weights, over the steps up to its last snapshot.

    A training with ``snapshots`` saves two short averages at intervals. A rebuilt average is a
    linear combination of all saved averages: the combination whose weighting of the steps is
    nearest to the requested weighting (Karras et al. 2024, arXiv 2312.02696, section 3.2). A
    warning is given if the relative error of this fit is above 1 %.

    Args:
        run: A folder of a run that was trained with ``snapshots``.
        length: ``std / N``, where N is the number of steps so far, and std is the standard
            deviation of the step numbers, each weighted as in the average. It must be above 0 and
            below 0.289, the length of an average that weights all steps equally. Several lengths
            make several averages.
        out: The folder to write the averages to; by default RUN/averages.

    Returns:
        An `Average` for each length. Its checkpoint, such as RUN/averages/length-0.100, holds the
        averaged weights, but not the state of the training. Its configuration and its facts about
        the data come from the run's newest checkpoint.

    Raises:
        UserError: If a length is out of range, or the run has fewer than two snapshots.
    """
    folder, lengths = as_path(run, "run"), _lengths(length)
    gammas = [exponent(each) for each in lengths]
    newest, snapshots = _snapshots(folder)
    kept, times, exponents = [], [], []
    for snapshot in snapshots:
        state = codecs.facts(snapshot, "step", "gammas")
        for name, gamma in state["gammas"].items():
            kept.append((snapshot, name))
            times.append(state["step"])
            exponents.append(gamma)
    end = times[-1]
    fits = [coefficients(np.array(times), np.array(exponents), end, gamma) for gamma in gammas]

    # Tensors that are not averaged never change, so they come from the newest checkpoint.
    made = [checkpoint.tensors(newest, "ema") for _ in lengths]
    for i, (snapshot, name) in enumerate(kept):
        weights = checkpoint.tensors(snapshot, name)
        known = {key: made[0][key] for key in weights if key in made[0]}
        if wrong := unmatched(weights, known):
            raise Damaged(f"{snapshot} belongs to another run ({wrong}): remove it")
        for tensors, (c, _) in zip(made, fits, strict=True):
            for key, weight in weights.items():
                tensors[key] = float(c[i]) * weight.float() + (tensors[key] if i else 0)
    place = as_folder(out) if out else folder / "averages"
    found = []
    for each, tensors, (_, error) in zip(lengths, made, fits, strict=True):
        if error > POOR:
            warn(
                f"the average of length {each:g} is inexact: made of {len(snapshots)} snapshots, "
                f"its weights have a relative error of {error:.1%}: choose a length nearer to 0.05 "
                "or 0.1, or train with more snapshots"
            )
        found.append(Average(_write(place, newest, tensors, each, end), each, error))
    return found


def _lengths(length: float | Iterable[float]) -> list[float]:
    given = list(length) if np.iterable(length) and not isinstance(length, str) else [length]
    if not given:
        raise UserError("`length` is empty: give numbers such as 0.1, a tenth of the training")
    try:
        return [float(each) for each in given]
    except (TypeError, ValueError):
        raise UserError(
            f"`length` is {length!r}: give numbers such as 0.1, a tenth of the training"
        ) from None


def _snapshots(folder: Path) -> tuple[Path, list[Path]]:
    """Return a run's newest checkpoint, and all its snapshots in the order of their steps."""
    newest = checkpoint.newest(folder / "checkpoints", warn)
    if newest is None:
        raise UserError(f"{folder} has no checkpoint: give a run that was trained with `snapshots`")
    snapshots = list(_whole(folder / "averages"))
    if len(snapshots) < 2:
        raise UserError(
            f"{folder} has {'1 snapshot' if snapshots else 'no snapshots'}, and an average needs "
            "two or more: train with `snapshots` set to the number of images from one snapshot "
            "to the next, such as a hundredth of `images`"
        )
    return newest, snapshots


def _write(place: Path, newest: Path, tensors: dict[str, Tensor], length: float, step: int) -> Path:
    """Write the checkpoint of an average, and return the path."""
    # The scale of an autoencoder's latents hardly depends on the average's length, so it is kept.
    names = [name for name in ("codec", "examples") if (newest / f"{name}.safetensors").exists()]
    more = {name: checkpoint.tensors(newest, name) for name in names}
    state = codecs.facts(newest, "step", "pending")
    del state["pending"]
    facts = {
        "config": json_object(newest / "config.json"),
        "state": {**state, "step": step, "length": length},
    }
    name = f"length-{np.format_float_positional(length, min_digits=3)}"
    return checkpoint.write(place / name, {"ema": tensors, **more}, facts)


def _whole(folder: Path) -> Iterator[Path]:
    """Yield the undamaged snapshots of a run by step; warn of each damaged snapshot."""
    for snapshot in checkpoint.listed(folder):
        try:
            checkpoint.verify(snapshot)
        except UserError as error:
            warn(f"{error}; this snapshot is left out")
        else:
            yield snapshot
