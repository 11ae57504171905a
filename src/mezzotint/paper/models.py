"""The models of a plan: the progress of their trainings, and how to continue them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mezzotint.config.experiment import Configuration
from mezzotint.paper.plan import digest
from mezzotint.paper.work import Work
from mezzotint.run import Progress, run
from mezzotint.storage import checkpoint, jsonl


def progress(folder: Path, config: Configuration) -> float:
    """Return the share of a training that is done and saved."""
    found = _saved(folder)
    return _share(found, config) if found else 0.0


def trainings(work: Work) -> Iterator[tuple[str, Iterator[Progress]]]:
    """Yield the name of each unfinished training, and an iterator that runs its steps.

    Exhaust the iterator before you ask for the next training.
    """
    for name in work.models:
        config = work.plan.models[name]
        if progress(work.folder(name), config) < 1:
            yield name, run(config, work.folder(name), resume=True)


def trained(work: Work, name: str) -> dict[str, str]:
    """Return facts that identify the training of a model; {} if the training is unfinished.

    The facts include a digest of the weights, because a repeated training may have the same
    configuration but different data.
    """
    config, found = work.plan.models[name], _saved(work.folder(name))
    if not found or _share(found, config) < 1:
        return {}
    sums = checkpoint.sums(found)
    return {"model": name, "configuration": digest(config), "weights": sums["ema.safetensors"]}


def kept(work: Work, name: str) -> list[dict[str, Any]]:
    """Return the rows of the file ``name`` that were measured with the present weights."""
    there = [facts for model in work.data if (facts := trained(work, model))]
    rows = jsonl.read(work.plan.folder / name)
    return [row for row in rows if any(facts.items() <= row.items() for facts in there)]


def _saved(folder: Path) -> Path | None:
    return checkpoint.newest(folder / "checkpoints", lambda problem: None)


def _share(saved: Path, config: Configuration) -> float:
    return int(saved.name.removeprefix("step-")) / config.train.steps
