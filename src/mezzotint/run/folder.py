"""A run's folder: whether a training may start or resume there, and its lock."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from mezzotint import config as configuration
from mezzotint.config.experiment import Configuration
from mezzotint.data.labels import reordered
from mezzotint.errors import UserError, counted
from mezzotint.networks.passing import warn_of_change
from mezzotint.networks.record import CustomConfig
from mezzotint.run.changes import MAY_CHANGE, Changes
from mezzotint.storage import checkpoint

BEST = "best"  # the checkpoint with the best figure measured in training
OURS = (".config.", ".lock")  # names that a run which never began may have left behind


def check_folder(experiment: Configuration, folder: Path, resume: bool) -> Changes:
    """Return the settings in which a training differs from the run that it resumes.

    The result is empty for a new run. Raises UserError for a folder that holds another run, or
    something else.
    """
    config = folder / "config.json"
    if not config.exists():
        if folder.exists() and not (folder.is_dir() and all(map(_ours, os.listdir(folder)))):
            raise UserError(f"{folder} exists and is not a run: choose another `out`")
        return {}
    if not resume:
        raise UserError(
            f"{folder} already holds a run: pass `resume=True`, or choose another `out`"
        )
    if not checkpoint.listed(folder / "checkpoints"):
        return {}  # nothing has been trained yet, so any configuration will do
    begun = _same_network(folder, configuration.read(config), experiment)
    changed = configuration.differences(begun, experiment)
    if fixed := sorted(set(changed) - MAY_CHANGE):
        was, now = changed[fixed[0]]
        was = f'"{was}"' if isinstance(was, str) else was
        name, *more = (place.split(".")[-1] for place in fixed)
        raise UserError(
            f"{folder} was begun with `{name}={was}`, not {now}"
            + (f" ({', '.join(more)} differ too)" if more else "")
            + ": resume it as it was, or choose another `out`"
        )
    return changed


def _same_network(folder: Path, begun: Configuration, now: Configuration) -> Configuration:
    """Return a run's configuration, with the record of the user's own network as it is now.

    Warns if the code of that network has changed. Raises UserError if only one of the two
    configurations has a network of the user's own.
    """
    was_own, is_own = (isinstance(c.net, CustomConfig) for c in (begun, now))
    if was_own != is_own:
        network = f"the network {begun.net}" if was_own else "a network of mezzotint's"
        raise UserError(
            f"{folder} was begun with {network}: give the same, or choose another `out`"
        )
    if isinstance(begun.net, CustomConfig) and isinstance(now.net, CustomConfig):
        warn_of_change(begun.net, now.net)
        return replace(begun, net=now.net)
    return begun


def forget(folder: Path) -> None:
    """Remove what a training left behind that was stopped before its first checkpoint."""
    for left in (*checkpoint.listed(folder / "averages"), folder / "checkpoints" / BEST):
        shutil.rmtree(left, ignore_errors=True)
    for grid in (folder / "samples").glob("*.png"):
        grid.unlink()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Create a run's folder, and lock it so that no second process trains there."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UserError(
                    f"another process is training in {folder}: stop it, or choose another `out`"
                ) from None
        yield


def _ours(name: str) -> bool:
    return name.startswith(OURS)


def check_data(found: Path, facts: dict[str, Any]) -> None:
    """Raise UserError if the data is not what a checkpoint was trained on."""
    state = json.loads((found / "state.json").read_text())
    then, classes = state["data"], len(state["classes"])
    if order := reordered(state["classes"], facts["classes"]):
        raise UserError(
            f"{found}: {order}: train anew with another `out`, or go on with the mezzotint that "
            "began it"
        )
    if classes != len(facts["classes"]):
        raise UserError(
            f"the data has {counted(len(facts['classes']), 'class', 'classes')} but {found} was "
            f"trained on {classes}: "
            "give the same data, or choose another `out`"
        )
    if then != facts["data"]:
        raise UserError(
            f"the data is not what {found} was trained on (its SHA-256 is {facts['data'][:12]}, "
            f"it was {then[:12]}): give the same data, or choose another `out`"
        )
