"""The rows of a plan: making their samples, timed, and measuring them, each once."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from mezzotint import evaluation
from mezzotint.errors import UserError
from mezzotint.evaluation import samples
from mezzotint.evaluation.samples import Follow
from mezzotint.metrics.inception import weights_path
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

Facts = dict[str, Any]  # a row of rows.jsonl


def networks(data: str) -> tuple[list[str], str]:
    """The feature networks that measure, and a note about what is missing.

    They are the one in the package, and Inception if its weights are on this machine.
    """
    own = evaluation.choose(data)
    try:
        if weights_path():
            return [own, "inception"], ""
    except UserError as error:
        return [own], f"No FID: {error}."
    return [own], (
        "No FID: the weights of Inception are not on this machine. `mezzotint evaluate --network "
        "inception` downloads them; if this command is then given again, it adds FID and IS."
    )


def recorded(work: Work) -> dict[Row, Facts]:
    """The rows that were measured before, of the weights and samples that are there now.

    They must have been measured by all networks at hand: one that is new measures the same samples.
    """
    found: dict[Row, Facts] = {}
    for facts in kept(work, "rows.jsonl"):
        there = samples.block(cache_folder("samples") / facts["pictures"], 0).exists()
        used = {figure["network"] for figure in facts["figures"]}
        wanted = networks(work.data[facts["model"]].origin)[0] if there else []
        if not there or not used >= {*wanted}:
            continue
        for row in work.rows:
            settings = json.loads(json.dumps(asdict(row.settings)))
            if (facts["model"], facts["settings"]) == (row.model, settings):
                found[row] = facts
    return found


def measured(
    work: Work, device: torch.device, on_row: Callable[[Row, Facts], None], follow: Follow
) -> dict[Row, Facts]:
    """All rows in the order of the plan; those not recorded are measured now, and announced."""
    rows = recorded(work)
    for row in work.rows:
        if row not in rows:

            def follow_row(what: str, done: float, total: int, name: str = row.name) -> None:
                follow(f"{name}: {what}", done, total)

            rows[row] = measure(work, row, device, follow_row)
            on_row(row, rows[row])
    return {row: rows[row] for row in work.plan.rows if row in rows}


def measure(work: Work, row: Row, device: torch.device, follow: Follow) -> Facts:
    """Make a row's samples, measure them, and append the figures to rows.jsonl."""
    plan = work.plan
    pipe = loading.load(work.folder(row.model), device, recommended=False)
    pipe = pipe.in_precision(plan.precision)
    folder = evaluation.kept(pipe, row.settings, plan.seed, BATCH)
    seconds, memory = _make(pipe, row, folder, plan, follow)
    against = evaluation.training_set(work.folder(row.model), pipe)
    measures = [
        evaluation.measure(name, against, pipe.size, pipe.device)
        for name in networks(work.data[row.model].origin)[0]
    ]
    result = evaluation.measure_samples(
        *(pipe, measures, row.settings, [plan.samples], folder),
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
        "pictures": folder.name,
        "seed": plan.seed,
        "precision": plan.precision,
        "seconds": seconds,
        "memory": memory,
        "images": plan.models[row.model].train.images,
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
    """Make the samples that are missing: seconds for BATCH of them, and the peak of memory in MiB.

    If none is missing, BATCH are made again for the time.
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
                    pipe, to, i, row.settings, plan.seed, BATCH, plan.samples, follow
                )
            )
            times.append(time.perf_counter() - clock)
            highest.append(memory)
    known = [memory for memory in highest if memory is not None]
    return statistics.median(times), max(known) if known else None
