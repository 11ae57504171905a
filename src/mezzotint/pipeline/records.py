"""The records in a model's folder: its training, and its measurements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import TypeAdapter, ValidationError

from mezzotint.config.experiment import Experiment
from mezzotint.config.file import read
from mezzotint.config.sampling import FIELDS, SampleConfig
from mezzotint.errors import UserError, counted
from mezzotint.metrics.figure import Figure
from mezzotint.pipeline import shipped
from mezzotint.pipeline.codecs import facts
from mezzotint.storage import checkpoint, jsonl, log

if TYPE_CHECKING:
    from mezzotint.pipeline.pipeline import Pipeline

_SETTINGS = TypeAdapter(SampleConfig)


@dataclass(frozen=True)
class Training:
    """The training of a model: its configuration, and the facts in its checkpoint and its log."""

    config: Experiment
    step: int
    images: int | None  # in the training set; None if the checkpoint does not say it
    processes: int
    length: float | None  # of an average that was rebuilt from snapshots
    seconds: float  # of the steps; 0 if unknown

    @property
    def seen(self) -> int:
        """The number of images that the training has seen."""
        return self.step * self.config.train.batch


@dataclass(frozen=True)
class Measurement:
    """How figures were measured: settings, precision, seed, versions, machine and day."""

    how: SampleConfig
    precision: str
    seed: int
    mezzotint: str
    torch: str
    machine: str
    day: str


@dataclass(frozen=True)
class Records:
    """The records about the weights of a model.

    ``figures`` are the newest figures of these weights, grouped by how they were measured; the
    newest group comes first. ``missing`` are sentences about records that are missing or cannot be
    used. ``own`` is the hand-written model card of a shipped model, without its title.
    """

    training: Training | None = None
    figures: Mapping[Measurement, list[Figure]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    own: str = ""


def recorded(pipe: Pipeline) -> Records:
    """Return the records about the weights of a model; the model must be in float32.

    Damaged records are left out.
    """
    found = _checkpoint(pipe)
    if found and not pipe.home and (own := _card(found)):
        return Records(own=own)
    training, missing = None, list[str]()
    try:
        training = _training(found) if found else None
        if not training:
            missing.append("No training of these weights is recorded in the model's folder.")
    except (UserError, OSError):
        missing.append("The configuration of the training cannot be read.")
    if training and not training.seconds:
        missing.append("The log of the training is missing or cannot be read.")
    figures, wrong = _figures(_run(pipe.home), pipe.identity) if pipe.home else ({}, [])
    return Records(training, figures, (*missing, *wrong))


def _checkpoint(pipe: Pipeline) -> Path | None:
    """Return the checkpoint with a model's weights, in the folder ``pipe.home``.

    For a model without a folder, the shipped models are searched. The result is None if there is no
    such checkpoint: the run may have been continued since the model was loaded, or the user
    replaced the network.
    """
    homes = [pipe.home] if pipe.home else shipped.folders().values()
    places = [
        place for home in homes for place in (*checkpoint.listed(home / "checkpoints")[::-1], home)
    ]
    return next((place for place in places if _holds(place, pipe.net.state_dict())), None)


def _holds(place: Path, weights: Mapping[str, torch.Tensor]) -> bool:
    """Return whether a folder is a checkpoint whose averaged weights are ``weights``."""
    try:
        found = checkpoint.tensors(place, "ema")
    except UserError:
        return False
    return found.keys() == weights.keys() and all(
        torch.equal(found[name].float(), weight.float().cpu()) for name, weight in weights.items()
    )


def _run(folder: Path) -> Path:
    """Return the folder of a checkpoint's run; return any other folder unchanged."""
    above = folder.absolute().parent
    return above.parent if above.name in ("checkpoints", "averages") else folder


def _training(found: Path) -> Training | None:
    """Return the facts of the training that wrote a checkpoint.

    Returns None if the checkpoint has no configuration of a diffusion model. Raises UserError or
    OSError if the checkpoint or the log cannot be read.
    """
    if not (found / "config.json").exists():
        return None
    config, state = read(found / "config.json"), facts(found, "step")
    if not isinstance(config, Experiment):
        return None
    step: int = state["step"]
    return Training(
        config,
        step,
        state.get("training_images"),
        state.get("processes", 1),
        state.get("length"),
        log.duration(_run(found) / "log.jsonl", step),
    )


def _card(found: Path) -> str:
    """Return the model card of a shipped model without its title; "" if there is none."""
    try:
        text = (found / "README.md").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
    return text.partition("\n")[2].strip()


def _figures(run: Path, digest: str) -> tuple[dict[Measurement, list[Figure]], list[str]]:
    """Return the newest figures of the weights with this digest, and notes on omitted records.

    A figure replaces an older figure if the two have the same name, feature network, reference,
    number of samples, settings, seed and precision.
    """
    path = run / "evaluation" / "figures.jsonl"
    try:
        rows = jsonl.read(path)
        damaged = len(path.read_bytes().splitlines()) - len(rows) if path.is_file() else 0
    except OSError:
        return {}, ["The file evaluation/figures.jsonl cannot be read."]
    ours = [row for row in rows if row.get("digest") == digest]
    newest: dict[Any, tuple[Measurement, Figure]] = {}
    for row in ours:
        try:
            said, found = _measurement(row), [Figure.read(figure) for figure in row["figures"]]
        except (KeyError, TypeError, UserError, ValidationError):
            damaged += 1
            continue
        for figure in found:
            what = (figure.name, figure.network, figure.against, figure.count)
            key = (said.how, said.seed, said.precision, *what)
            newest.pop(key, None)
            newest[key] = said, figure
    groups: dict[Measurement, list[Figure]] = {}
    for said, figure in reversed(newest.values()):
        groups.setdefault(said, []).insert(0, figure)
    wrong = []
    if others := len(rows) - len(ours):
        wrong.append(
            f"The card leaves out {counted(others, 'record')} of other weights in "
            "evaluation/figures.jsonl."
        )
    if damaged:
        wrong.append(
            f"The card leaves out {counted(damaged, 'line')} of evaluation/figures.jsonl that "
            "cannot be read."
        )
    return groups, wrong


def _measurement(row: Mapping[str, Any]) -> Measurement:
    """Return the `Measurement` in a row of figures.jsonl.

    Raises KeyError, TypeError, UserError or ValidationError if the row does not describe one.
    """
    how = {name: row[name] for name in FIELDS if name in row}
    texts = [row[name] for name in ("precision", "mezzotint", "torch", "machine", "time")]
    if (
        "sampler" not in how
        or type(row["seed"]) is not int
        or not all(isinstance(text, str) for text in texts)
    ):
        raise TypeError(f"{row!r} has no settings")
    precision, commit, version, machine, time = texts
    settings = _SETTINGS.validate_python(how)
    return Measurement(settings, precision, row["seed"], commit, version, machine, time[:10])
