"""The folder of a run: the checks before a training starts or resumes there, and the lock."""

from __future__ import annotations

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
from mezzotint.data.prepared import Prepared, is_same
from mezzotint.errors import UserError, counted, warn
from mezzotint.networks.passing import warn_of_change
from mezzotint.networks.record import CustomConfig
from mezzotint.pipeline import codecs
from mezzotint.run.changes import MAY_CHANGE, Changes
from mezzotint.storage import checkpoint
from mezzotint.storage.files import replace as replace_file
from mezzotint.storage.files import written
from mezzotint.storage.log import read as read_log
from mezzotint.storage.parse import regular

BEST = "best"  # the checkpoint with the best figure measured in training
SAVED = ".saved"  # a file with "0", or "1" after the run has saved a checkpoint
OURS = (".config.", ".lock")  # files that a run may leave behind if it never began


def check_folder(folder: Path, resume: bool) -> None:
    """Raise UserError unless a training may begin in a folder, or resume the run in it.

    A run is refused if it has saved checkpoints that are missing now. They may be on a disk that is
    not mounted, and a new start would remove the rest of the run. A run that was stopped before its
    first checkpoint starts again.
    """
    if not (folder / "config.json").exists():
        if folder.exists() and not (folder.is_dir() and all(map(_ours, os.listdir(folder)))):
            raise UserError(f"{folder} exists but is not a run: choose another `out`")
        return
    if not resume:
        raise UserError(
            f"{folder} already holds a run: pass `resume=True`, or choose another `out`"
        )
    saved = folder / "checkpoints"
    if checkpoint.listed(saved):
        return
    if saved.is_symlink() and not saved.exists():
        raise UserError(
            f"{saved} is a link to {os.readlink(saved)}, which does not exist: mount the disk "
            "with that folder, restore the folder, or choose another `out`"
        )
    if (rows := read_log(folder / "log.jsonl")) and not _nothing_saved(folder):
        raise UserError(
            f"{folder} was trained to step {rows[-1]['step']}, but {saved} lacks the checkpoint: "
            f"restore it; to start again, remove {folder} or choose another `out`"
        )


def note_saved(folder: Path, saved: bool) -> None:
    """Record in a run's folder whether the run has saved a checkpoint.

    This distinguishes a run that has no checkpoint yet from a run whose checkpoints are missing.
    """
    replace_file(folder / SAVED, "1" if saved else "0")


def _nothing_saved(folder: Path) -> bool:
    """Return whether a run has recorded that it has saved no checkpoint; see `note_saved`.

    Runs of older versions recorded nothing, so the result for them is False.
    """
    try:
        return (folder / SAVED).read_bytes() == b"0"
    except OSError:
        return False


def differing(experiment: Configuration, folder: Path, found: Path) -> Changes:
    """Return the settings in which a training differs from the checkpoint that it resumes.

    Raises UserError if one of these settings must stay the same.
    """
    begun = configuration.read(found / "config.json", folder)
    begun = _same_network(folder, begun, experiment)
    changed = configuration.differences(begun, experiment)
    if fixed := sorted(set(changed) - MAY_CHANGE):
        was, now = changed[fixed[0]]
        was = f'"{was}"' if isinstance(was, str) else was
        name, *more = (place.split(".")[-1] for place in fixed)
        raise UserError(
            f"{folder} was begun with `{name}={was}`, not {now}"
            + (f" ({', '.join(more)} differ too)" if more else "")
            + ": resume it with the old settings, or choose another `out`"
        )
    return changed


def check_run(experiment: Configuration, folder: Path) -> None:
    """Raise UserError if a folder holds a run of another experiment, or other files."""
    check_folder(folder, resume=True)
    checkpoint.usable(
        folder / "checkpoints", lambda found: differing(experiment, folder, found), lambda _: None
    )


def _same_network(folder: Path, begun: Configuration, now: Configuration) -> Configuration:
    """Return the configuration ``begun`` of a checkpoint, for a comparison with ``now``.

    If both configurations have a user's own network, the result has the network of ``now``, and a
    warning is given if the network's code or the settings of its layers have changed. Raises
    UserError if only one of the two configurations has a user's own network.
    """
    was_own, is_own = (isinstance(c.net, CustomConfig) for c in (begun, now))
    if was_own != is_own:
        network = f"the network {begun.net}" if was_own else "a network of mezzotint's"
        raise UserError(
            f"{folder} was begun with {network}: give the same network, or choose another `out`"
        )
    if isinstance(begun.net, CustomConfig) and isinstance(now.net, CustomConfig):
        warn_of_change(begun.net, now.net)
        return replace(begun, net=now.net)
    return begun


def forget(folder: Path) -> None:
    """Remove the snapshots, ``checkpoints/best`` and the image grids in a run's folder.

    They come from a training that was stopped before it saved a ``step-N``.
    """
    for left in (*checkpoint.listed(folder / "averages"), folder / "checkpoints" / BEST):
        shutil.rmtree(left, ignore_errors=True)
    for grid in (folder / "samples").glob("*.png"):
        grid.unlink()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Create a run's folder, and lock it against a second training.

    Raises UserError if another process trains there, and Unwritable if the folder cannot be
    written.
    """
    with written(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = regular(folder / ".lock").open("w")
    with file:
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"another process is training in {folder}: stop it, or choose another `out`"
                ) from None
            except OSError as error:  # a file system without locks
                warn(
                    f"{folder} cannot be locked ({error.strerror}): do not train there with two "
                    "processes"
                )
        yield


def _ours(name: str) -> bool:
    return name.startswith(OURS)


def processes(found: Path) -> int | None:
    """Return the number of processes that shared a batch when a checkpoint was saved.

    None means that the checkpoint does not record it.
    """
    count: int | None = codecs.facts(found).get("processes")
    return count


def check_data(found: Path, facts: dict[str, Any], data: Prepared) -> None:
    """Raise UserError if the data or the teacher is not that of the checkpoint ``found``.

    ``facts`` describe both; they are compared with the facts in the checkpoint.
    """
    state = codecs.facts(found, "data", "classes")
    then, classes = state["data"], len(state["classes"])
    if order := reordered(state["classes"], facts["classes"]):
        raise UserError(
            f"{order}: start a new training with another `out`, or continue {found} with the "
            "version of mezzotint that began it"
        )
    if classes != len(facts["classes"]):
        raise UserError(
            f"the data has {counted(len(facts['classes']), 'class', 'classes')} but {found} was "
            f"trained on {classes}: "
            "give the same data, or choose another `out`"
        )
    if state.get("teacher") != facts.get("teacher"):
        raise UserError(
            f"the teacher is not the model that {found} was distilled from: give the same teacher, "
            "or choose another `out`"
        )
    # This can only happen without classes: a new order of classes is refused above.
    if then != facts["data"] and is_same(data, then):
        raise UserError(
            f"{found} was trained on this data when its class folders were sorted as text (1, 10, "
            "2), but now they are sorted by number (1, 2, 10), which changes the order of the "
            "images: start a new training with another `out`, or continue with the version of "
            "mezzotint that began this run"
        )
    if then != facts["data"]:
        raise UserError(
            f"the data is not what {found} was trained on (its SHA-256 is {facts['data'][:12]}, "
            f"but was {then[:12]}): give the same data, or choose another `out`"
        )
