"""The parts of a plan carried out, each once: what a folder holds already is not done again.

FOLDER/plan.json       what may not change            FOLDER/rows.jsonl     figures, a row a line
FOLDER/linear/ ...     the runs                       FOLDER/study.jsonl    of the schedules
"""

from __future__ import annotations

import json
import math
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from mezzotint import data, evaluation
from mezzotint.config.experiment import Configuration, Experiment
from mezzotint.data import Prepared, held_out
from mezzotint.errors import UserError
from mezzotint.evaluation import samples
from mezzotint.evaluation.samples import Follow
from mezzotint.metrics.inception import weights_path
from mezzotint.paper.estimate import BATCH, cost
from mezzotint.paper.peak import peak
from mezzotint.paper.plan import Plan, Row, digest
from mezzotint.paper.study import errors_by_level, gradient_noise
from mezzotint.pipeline import loading
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.run import Progress, run
from mezzotint.run.folder import check_folder
from mezzotint.storage import checkpoint, jsonl
from mezzotint.storage.arrays import nchw
from mezzotint.storage.cache import cache_folder
from mezzotint.storage.files import replace
from mezzotint.storage.log import duration
from mezzotint.storage.machine import commit, processor

PIXELS = ("linear", "cosine", "adaptive")
HELD_OUT = 512  # pictures that the schedules' errors are measured on


@dataclass
class Work:
    """A plan with what this machine can do of it. ``why``: of a model, why it cannot be had."""

    plan: Plan
    hours: float = 24  # the longest training, as `estimate` was told
    why: dict[str, str] = field(default_factory=dict)
    data: dict[str, Prepared] = field(default_factory=dict)

    def folder(self, model: str) -> Path:
        return self.plan.folder / model

    def needs(self, model: str) -> str:
        """Why a model cannot be had, with what it needs; nothing where it can."""
        config = self.plan.models[model]
        needs = "vae" if isinstance(config, Experiment) and config.codec.vae else ""
        return self.why.get(model, "") or (self.why.get(needs, "") if needs else "")

    def rows(self) -> list[Row]:
        return [row for row in self.plan.rows if not self.needs(row.model)]


def begin(plan: Plan) -> Work:
    """Find out which of a plan's pictures can be had, and hold its folder to what is made of them.

    Raises UserError for a folder of another plan or of something else, for a run in it of another
    configuration, and where no pictures can be had at all.
    """
    path = plan.folder / "plan.json"
    known = _read(path) if path.exists() else {}
    if plan.folder.exists() and not known and any(plan.folder.iterdir()):
        raise UserError(f"{plan.folder} exists and holds no plan: choose another --out")
    if changed := [k for k, v in plan.facts.items() if k in known and known[k] != v]:
        name = changed[0]
        raise UserError(
            f"{plan.folder} was begun with {name} = {known[name]}, not {plan.facts[name]}: "
            "go on as it was, or choose another --out"
        )
    for name, config in plan.models.items():
        check_folder(config, plan.folder / name, resume=True)
    work = Work(plan)
    for name, config in plan.models.items():
        try:
            work.data[name] = data.prepare(config.data.data, size=config.data.size)
        except UserError as error:
            asked = "--data" if name in PIXELS else "--imagenet"
            work.why[name] = f"{error} (its pictures are given by {asked})"
    if not work.data:
        name, why = next(iter(work.why.items()))
        raise UserError(f"nothing can be done: {name}: {why}")
    held = {k: v for k, v in plan.facts.items() if k.split()[0] not in work.why}
    plan.folder.mkdir(parents=True, exist_ok=True)
    replace(path, json.dumps(known | held, indent=1))
    return work


def _read(plan: Path) -> dict[str, Any]:
    try:
        known = json.loads(plan.read_text())
    except ValueError:
        known = None
    if not isinstance(known, dict):
        raise UserError(f"{plan} is damaged: restore it, or choose another --out")
    return known


def networks(classes: tuple[str, ...]) -> tuple[list[str], str]:
    """The feature networks that measure, and what is to be said of them.

    The one in the package, and Inception besides where its weights are at hand.
    """
    own = evaluation.choose(classes)
    try:
        if weights_path():
            return [own, "inception"], ""
    except UserError as error:
        return [own], f"No FID: {error}."
    return [own], (
        "No FID: Inception's weights are not on this machine. An evaluation with --network "
        "inception fetches them, and the same command then gives FID and IS too."
    )


def estimate(work: Work, hours: float) -> Iterator[tuple[str, float]]:
    """What is still to be done, and how many seconds it will take.

    Parts beyond ``hours`` are left out, and ``work.why`` says so.
    """
    work.hours = hours
    plan, known = work.plan, recorded(work)
    for name, config in plan.models.items():
        left = 1 - progress(work.folder(name), config)
        rows = [row for row in plan.rows if row.model == name and row not in known]
        if work.needs(name) or not (left or rows):
            continue
        spent = cost(config, _seen(work, name), _classes(work, name))
        seconds = left * spent.training
        if seconds > hours * 3600:
            work.why[name] = (
                f"its training would take about {seconds / 3600:,.0f} hours on this machine, more "
                f"than --hours {hours:g}: give more, or a machine with a faster GPU"
            )
            continue
        if left:
            yield f"train {name}, {config.train.images:,} images", seconds
        for row in rows:
            told = f"{row.letter}: {plan.samples:,} pictures, {row.name}"
            yield told, spent.pictures(row, plan.samples)


def _seen(work: Work, name: str) -> tuple[int, ...]:
    """The shape (C, H, W) of what a model sees."""
    config, (height, width, channels) = work.plan.models[name], work.data[name].images.shape[1:]
    if not isinstance(config, Experiment) or not config.codec.vae:
        return channels, height, width
    if coder := work.plan.models.get("vae"):
        assert not isinstance(coder, Experiment)
        return coder.net.latent, height // coder.net.factor, width // coder.net.factor
    return loading.load_codec(config.codec.vae, "cpu").latent_shape((channels, height, width))


def _classes(work: Work, name: str) -> int:
    config = work.plan.models[name]
    told = isinstance(config, Experiment) and config.data.conditional
    return len(work.data[name].classes) if told else 0


def progress(folder: Path, config: Configuration) -> float:
    """The share of a training that is done and saved whole."""
    found = _saved(folder)
    return _share(found, config) if found else 0.0


def _saved(folder: Path) -> Path | None:
    return checkpoint.newest(folder / "checkpoints", lambda problem: None)


def _share(saved: Path, config: Configuration) -> float:
    return int(saved.name.removeprefix("step-")) / config.train.steps


def trainings(work: Work) -> Iterator[tuple[str, Iterator[Progress]]]:
    """The trainings that are not done, each to be gone through before the next is asked for."""
    for name, config in work.plan.models.items():
        if not work.needs(name) and progress(work.folder(name), config) < 1:
            yield name, run(config, work.folder(name), resume=True)


def recorded(work: Work) -> dict[Row, dict[str, Any]]:
    """The rows that were measured before, of the weights and the pictures that are there now.

    By all networks that are at hand now: one that has come since measures the same pictures.
    """
    found: dict[Row, dict[str, Any]] = {}
    for row in _kept(work, "rows.jsonl"):
        there = samples.block(cache_folder("samples") / row["pictures"], 0).exists()
        seen = {figure["network"] for figure in row["figures"]}
        wanted = networks(work.data[row["model"]].classes)[0] if there else []
        if not there or not seen >= {*wanted}:
            continue
        for asked in work.rows():
            told = json.loads(json.dumps(asdict(asked.how)))
            if (row["model"], row["settings"]) == (asked.model, told):
                found[asked] = row
    return found


def _kept(work: Work, name: str) -> list[dict[str, Any]]:
    """The rows of a file that are of the trainings that lie in the folder, to their end."""
    there = [facts for model in work.data if (facts := _trained(work, model))]
    kept = jsonl.read(work.plan.folder / name)
    return [row for row in kept if any(facts.items() <= row.items() for facts in there)]


def _trained(work: Work, name: str) -> dict[str, str]:
    """What a row says of the training that it is of; {} of one that is not done.

    The weights too: a training may be repeated, of other data at the same place perhaps.
    """
    config, found = work.plan.models[name], _saved(work.folder(name))
    if not found or _share(found, config) < 1:
        return {}
    sums = json.loads((found / checkpoint.MANIFEST).read_text())["sha256"]
    return {"model": name, "configuration": digest(config), "weights": sums["ema.safetensors"]}


def measure(work: Work, row: Row, device: torch.device, follow: Follow) -> dict[str, Any]:
    """Make a row's pictures, timed, measure them, and keep the figures."""
    plan = work.plan
    pipe = loading.load(work.folder(row.model), device, recommended=False)
    pipe = pipe.in_precision(plan.precision)
    folder = evaluation.kept(pipe, row.how, plan.seed, BATCH)
    seconds, memory = _make(pipe, row, folder, plan, follow)
    against = evaluation.training_set(work.folder(row.model), pipe)
    measures = [
        evaluation.measure(name, against, pipe.size, pipe.device)
        for name in networks(work.data[row.model].classes)[0]
    ]
    result = evaluation.measure_samples(
        *(pipe, measures, row.how, [plan.samples], folder),
        seed=plan.seed,
        batch=BATCH,
        chosen=("fd", "cs", "accuracy"),
        follow=follow,
    )
    figures = [figure for _, found in result for figure in found]
    config = plan.models[row.model]
    facts = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "experiment": row.letter,
        **_trained(work, row.model),
        "settings": asdict(row.how),
        "pictures": folder.name,
        "seed": plan.seed,
        "precision": plan.precision,
        "seconds": seconds,
        "memory": memory,
        "images": config.train.images,
        "training_seconds": duration(work.folder(row.model) / "log.jsonl"),
        "processor": processor(),
        "commit": commit(),
        "figures": [figure.row for figure in figures],
    }
    jsonl.append(plan.folder / "rows.jsonl", facts)
    return facts


def _make(
    pipe: Pipeline, row: Row, folder: Path, plan: Plan, follow: Follow
) -> tuple[float, float | None]:
    """Make the pictures that are missing: seconds for BATCH of them, and the peak of memory.

    Where none is missing, BATCH are made again, to be timed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    blocks = range(-(-plan.samples // BATCH))
    missing = [i for i in blocks if not samples.block(folder, i).exists()]
    with tempfile.TemporaryDirectory() as aside:
        times, highest = [], []
        for i in missing or [0]:
            to = folder if missing else Path(aside)
            clock = time.perf_counter()
            _, memory = peak(
                lambda i=i, to=to: samples.make(  # type: ignore[misc]
                    pipe, to, i, row.how, plan.seed, BATCH, plan.samples, follow
                )
            )
            times.append(time.perf_counter() - clock)
            highest.append(memory)
    known = [memory for memory in highest if memory is not None]
    return statistics.median(times), max(known) if known else None


def study(work: Work, follow: Follow) -> dict[str, dict[str, Any]]:
    """Of each model in pixels: its error by level on pictures held out, and its gradient's noise.

    {} where only one is there to be looked at.
    """
    models = [name for name in PIXELS if name in work.plan.models]
    names = [name for name in models if not work.needs(name)]
    if len(names) < 2:
        return {}
    known = {row["model"]: row for row in _kept(work, "study.jsonl")}
    for i, name in enumerate(names):
        if name in known:
            continue
        follow(f"study of {name}", i, len(names))
        config, folder = work.plan.models[name], work.folder(name)
        pipe = loading.load(folder)
        pictures = held_out(config.data.data, config.data.size, work.data[name]).some(HELD_OUT)
        images = nchw(pictures.images)
        labels = pictures.labels.tolist() if pipe.classes else None
        noise = gradient_noise(folder)
        known[name] = {
            **_trained(work, name),
            "errors": errors_by_level(pipe, images, labels, seed=work.plan.seed),
            "noise_scale": noise.scale if math.isfinite(noise.scale) else None,
            "gradient": noise.norm,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        jsonl.append(work.plan.folder / "study.jsonl", known[name])
    return {name: known[name] for name in names}
