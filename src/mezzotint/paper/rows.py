"""The rows of a plan: make, time and measure the samples of each row once."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from mezzotint import evaluation
from mezzotint.errors import UserError
from mezzotint.evaluation import samples
from mezzotint.evaluation.samples import Follow
from mezzotint.metrics import efficientnet
from mezzotint.metrics.classifier import PACKAGED
from mezzotint.metrics.inception import weights_path
from mezzotint.metrics.networks import choose
from mezzotint.paper.costs import BATCH
from mezzotint.paper.models import kept, trained
from mezzotint.paper.peak import peak
from mezzotint.paper.plan import Plan, Row
from mezzotint.paper.work import Work
from mezzotint.pipeline import loading
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.storage import jsonl
from mezzotint.storage.cache import cache_folder
from mezzotint.storage.log import duration
from mezzotint.storage.machine import commit, processor

Facts = dict[str, Any]  # the content of a row in rows.jsonl


def networks(data: str, chosen: Sequence[str] = ()) -> tuple[list[str], str]:
    """Return the names of the feature networks for a model trained on ``data``, and a note.

    The names are those that the user has chosen. If the user has chosen none, the first name is
    ``glyphs`` for the data set glyphs, and ``cifar10`` for other data; the second is ``inception``,
    if its weights are on this machine. The note says why FID is not measured; it is "" if FID is
    measured.
    """
    if chosen:
        fid = any(name.startswith("inception") for name in chosen)
        return [*chosen], "" if fid else "No FID was measured: it needs the network inception."
    own = choose(data)
    try:
        if weights_path():
            return [own, "inception"], ""
    except UserError as error:
        return [own], f"No FID was measured: {error}."
    return [own], (
        "No FID was measured: the weights of Inception are not on this machine. With "
        '`network="inception"` they are downloaded, and FID and IS are added.'
    )


def at_hand(work: Work, model: str) -> list[str]:
    """Return the feature networks with which the samples of a model are measured.

    Unless networks were chosen, the latent model is also measured with ``imagenet``, if the weights
    are installed and the data are not one of the package's own data sets.
    """
    data, chosen = work.data[model].origin, work.plan.networks
    first, *others = networks(data, chosen)[0]
    photographs = model == "latent" and data not in PACKAGED
    if photographs and not chosen and efficientnet.installed():
        others.insert(0, "imagenet")
    return [first, *others]


def recorded(work: Work) -> dict[Row, Facts]:
    """Return the plan's rows that need no new measurement, each with its facts from rows.jsonl.

    A row needs no new measurement if rows.jsonl holds figures for the present weights, for every
    network of `at_hand`, and for ``row.samples`` and ``plan.fewest(row)`` samples. The first batch
    of the row's samples must also be stored. If a feature network was added, the stored samples are
    measured again.
    """
    found: dict[Row, Facts] = {}
    for facts in kept(work, "rows.jsonl"):
        there = samples.block(cache_folder("samples") / facts["pictures"], 0).exists()
        used = {figure["network"] for figure in facts["figures"]}
        wanted = at_hand(work, facts["model"]) if there else []
        if not there or not used >= {*wanted}:
            continue
        for row in work.rows:
            settings = json.loads(json.dumps(asdict(row.settings)))
            same = (facts["model"], facts["settings"]) == (row.model, settings)
            if same and {work.plan.fewest(row), row.samples} <= {*by_count(facts)}:
                found[row] = facts
    return found


def by_count(facts: Facts) -> dict[int, dict[str, Facts]]:
    """Return a measured row's figures as {number of samples: {name: figure}}."""
    found: dict[int, dict[str, Facts]] = {}
    for figure in facts["figures"]:
        found.setdefault(figure["samples"], {})[figure["name"]] = figure
    return found


def measured(
    work: Work, device: torch.device, on_row: Callable[[Row, Facts], None], follow: Follow
) -> dict[Row, Facts]:
    """Measure the rows that were not measured before; return all rows in the order of the plan.

    ``on_row`` is called after each measurement. Rows with the same model, number of network calls
    and guidance scale are sampled in turn, batch by batch. So their times can be compared even if
    the machine does other work meanwhile.
    """
    rows, made, pipes = recorded(work), dict[Row, Made](), dict[str, Pipeline]()

    def named(row: Row) -> Follow:
        return lambda what, done, total: follow(f"{row.name}: {what}", done, total)

    for row in work.rows:
        if row in rows:
            continue
        if row not in made:
            if row.model not in pipes:
                pipes[row.model] = ready(work, row.model, device)
            alike = [r for r in work.rows if r not in rows and _cost(r) == _cost(row)]
            made |= make(work.plan, pipes[row.model], alike, named)
        rows[row] = measure(work, row, made[row], named(row))
        on_row(row, rows[row])
    return {row: rows[row] for row in work.plan.rows if row in rows}


def _cost(row: Row) -> tuple[str, int, float]:
    return row.model, row.settings.calls, row.settings.guidance


@dataclass(frozen=True)
class Made:
    """The samples of a row, and their time and memory."""

    pipe: Pipeline
    folder: Path
    seconds: float  # median time for BATCH samples
    batches: int  # number of timed batches
    memory: float | None  # peak memory in MiB
    turns: tuple[str, ...]  # the rows with which this row alternated, batch by batch


def ready(work: Work, model: str, device: torch.device) -> Pipeline:
    """Return a model in the precision of the plan, ready to make the samples of its table rows.

    The network is compiled for either all rows of the model or none, so that the times of the rows
    can be compared.
    """
    pipe = loading.load(work.folder(model), device, "float32", recommended=False)
    pipe = pipe.in_precision(work.plan.precision)
    rows = [row for row in work.plan.rows if row.model == model]
    pipe.net.compile_for(sum(row.settings.calls * -(-row.samples // BATCH) for row in rows))
    return pipe


def make(
    plan: Plan, pipe: Pipeline, rows: Sequence[Row], follow: Callable[[Row], Follow]
) -> dict[Row, Made]:
    """Make the missing samples of the given rows; return a `Made` for each row.

    A row of the table of results is a model with sampling settings. The rows take turns: one timed
    batch for the first row, one for the second row, and so on. If a row has all its samples
    already, one batch is made again, to time it, and discarded. If the network is compiled, each
    row first makes a batch with two denoising steps, so that the times exclude compilation.
    """
    folders = {row: evaluation.kept(pipe, row.settings, plan.seed, BATCH) for row in rows}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    missing = {row: missing_batches(plan, pipe, row) for row in rows}
    times: dict[Row, list[float]] = {row: [] for row in rows}
    highest: dict[Row, list[float]] = {row: [] for row in rows}
    with tempfile.TemporaryDirectory() as aside:
        for row in rows if pipe.net.compiled else ():
            two = replace(row.settings, steps=2)
            samples.make(pipe, Path(aside), 0, two, plan.seed, BATCH, BATCH, follow(row))
        for turn in range(max(1, *map(len, missing.values()))):
            for row in rows:
                if turn and turn >= len(missing[row]):
                    continue
                i = missing[row][turn] if missing[row] else 0
                to = folders[row] if missing[row] else Path(aside)
                spent, memory = _timed(pipe, to, i, row, plan, follow(row))
                times[row].append(spent)
                highest[row] += [] if memory is None else [memory]
    return {
        row: Made(
            pipe,
            folders[row],
            statistics.median(times[row]),
            len(times[row]),
            max(highest[row], default=None),
            tuple(other.name for other in rows if other != row),
        )
        for row in rows
    }


def missing_batches(plan: Plan, pipe: Pipeline, row: Row) -> list[int]:
    """Return the numbers of the batches of a row's samples that are not stored yet."""
    folder = evaluation.kept(pipe, row.settings, plan.seed, BATCH)
    blocks = range(-(-row.samples // BATCH))
    return [i for i in blocks if not samples.block(folder, i).exists()]


def _timed(
    pipe: Pipeline, to: Path, i: int, row: Row, plan: Plan, follow: Follow
) -> tuple[float, float | None]:
    """Make a batch of samples; return the seconds and the peak memory in MiB."""
    clock = time.perf_counter()
    _, memory = peak(
        lambda: samples.make(pipe, to, i, row.settings, plan.seed, BATCH, row.samples, follow)
    )
    return time.perf_counter() - clock, memory


def measure(work: Work, row: Row, made: Made, follow: Follow) -> Facts:
    """Measure the samples of a table row; return the facts that are appended to rows.jsonl."""
    plan, pipe = work.plan, made.pipe
    against = evaluation.training_set(work.folder(row.model), pipe)
    measures = [
        evaluation.measure(name, against, pipe.size, pipe.device)
        for name in at_hand(work, row.model)
    ]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "accuracy is left out")  # not every network has classes
        tiers = sorted({plan.fewest(row), row.samples})
        result = evaluation.measure_samples(
            *(pipe, measures, row.settings, tiers, made.folder),
            seed=plan.seed,
            batch=BATCH,
            chosen=("fd", "cs", "accuracy"),
            follow=follow,
        )
        figures = [figure for _, found in result for figure in found]
    facts = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "experiment": row.letter,
        **trained(work, row.model),
        "settings": asdict(row.settings),
        "pictures": made.folder.name,
        "seed": plan.seed,
        "precision": plan.precision,
        "seconds": made.seconds,
        "batches": made.batches,
        "turns": made.turns,
        "memory": made.memory,
        "images": plan.models[row.model].train.images,
        "training_seconds": duration(work.folder(row.model) / "log.jsonl"),
        "processor": processor(),
        "commit": commit(),
        "figures": [figure.row for figure in figures],
    }
    jsonl.append(plan.folder / "rows.jsonl", facts)
    return facts
