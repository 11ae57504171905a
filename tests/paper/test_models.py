"""The progress of a plan's trainings, and the rows that belong to them."""

from __future__ import annotations

import json
from pathlib import Path

from mezzotint import config as configuration
from mezzotint.data import prepare
from mezzotint.paper import models
from mezzotint.paper.plan import Plan
from mezzotint.paper.work import Work
from mezzotint.storage import checkpoint
from spoil import spoil


def test_a_damaged_checkpoint_does_not_count_as_done(trained: Path) -> None:
    config = configuration.read(trained / "config.json")
    assert models.progress(trained, config) == 1
    *_, last = checkpoint.listed(trained / "checkpoints")
    (last / "state.json").write_text("{")
    assert models.progress(trained, config) < 1


def test_rows_are_of_the_weights_that_are_there(trained: Path, tmp_path: Path) -> None:
    config = configuration.read(trained / "config.json")
    plan = Plan("glyphs", {"run": config}, (), 10, 0, folder=tmp_path)
    work = Work(plan, data={"run": prepare("glyphs")})
    row = models.trained(work, "run")
    for name in ("rows.jsonl", "study.jsonl"):
        (tmp_path / name).write_bytes(b"\xff\n{}\n" + json.dumps(row).encode())
        assert models.kept(work, name) == [row]

    # Of the same configuration, but trained on something else.
    spoil(trained, "ema", lambda tensors: {name: 2 * w for name, w in tensors.items()})
    assert models.progress(trained, config) == 1
    for name in ("rows.jsonl", "study.jsonl"):
        assert models.kept(work, name) == []
