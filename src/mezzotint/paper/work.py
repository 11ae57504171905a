"""The state of a plan: its folder, the data for its models, and the models that are left out.

FOLDER/plan.json       the plan, which must not change
FOLDER/MODEL/          the run of each model
FOLDER/rows.jsonl      the figures of each row of the table of results
FOLDER/study.jsonl     the measurements that compare the schedules
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mezzotint import data
from mezzotint.config.experiment import Experiment
from mezzotint.data import Prepared
from mezzotint.errors import UserError
from mezzotint.paper.plan import Plan, Row
from mezzotint.run.folder import check_run
from mezzotint.storage import files
from mezzotint.storage.parse import content, parsed

PIXELS = ("linear", "cosine", "adaptive")  # the models of experiments A, B and D


@dataclass(frozen=True)
class Work:
    """A plan, the data for its models, and the reasons why some models are left out."""

    plan: Plan
    data: Mapping[str, Prepared] = field(default_factory=dict)  # the data by model
    left_out: Mapping[str, str] = field(default_factory=dict)  # model -> reason

    def folder(self, model: str) -> Path:
        return self.plan.folder / model

    def why_not(self, model: str) -> str:
        """Return the reason why a model, or the autoencoder that it needs, is left out; else ""."""
        config = self.plan.models[model]
        needs = "vae" if isinstance(config, Experiment) and config.codec.vae else ""
        return self.left_out.get(model, "") or self.left_out.get(needs, "")

    @property
    def models(self) -> list[str]:
        """The remaining models, in the order of training."""
        return [name for name in self.plan.models if not self.why_not(name)]

    @property
    def rows(self) -> list[Row]:
        """The rows of the table of results for the remaining models."""
        return [row for row in self.plan.rows if not self.why_not(row.model)]

    def without(self, model: str, why: str) -> Work:
        """Return a `Work` that also leaves out ``model``, for the reason ``why``."""
        return replace(self, left_out={**self.left_out, model: why})


def begin(plan: Plan) -> Work:
    """Return the `Work` of a plan, with its data, and write the plan to its folder.

    Models without data are left out. Raises UserError if the folder holds another plan, other
    files, or a run with another configuration, or if no model has data.
    """
    path = plan.folder / "plan.json"
    known = _read(path) if path.exists() else {}
    facts = plan.facts
    if plan.folder.exists() and not known and any(plan.folder.iterdir()):
        raise UserError(f"{plan.folder} exists but is not a reproduction: choose another `out`")
    elsewhere = {k for k, v in facts.items() if k.endswith(" data") and Path(v).exists()}
    _same(plan.folder, known, {k: v for k, v in facts.items() if k not in elsewhere})
    for name, config in plan.models.items():
        check_run(config, plan.folder / name)
    work = _with_data(plan)
    prints = {f"{name} fingerprint": data.fingerprint for name, data in work.data.items()}
    # The path of the images may change if the images stay the same.
    same = [f"{k.split()[0]} data" for k, v in prints.items() if known.get(k) == v]
    _same(plan.folder, known, {k: v for k, v in facts.items() if k not in same})
    held = {k: v for k, v in facts.items() if k.split()[0] not in work.left_out} | prints
    plan.folder.mkdir(parents=True, exist_ok=True)
    files.replace(path, json.dumps(known | held, indent=1))
    return work


def _same(folder: Path, known: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Raise UserError if the plan in a folder (``known``) differs from this plan (``facts``)."""
    for name, now in facts.items():
        was = known.get(name, now)
        if was != now and not (name.endswith(" data") and _one_place(was, now)):
            raise UserError(
                f"{folder} was begun with {name} = {was}, not {now}: "
                "continue it with the former value, or choose another `out`"
            )


def _one_place(was: str, now: str) -> bool:
    return Path(was).exists() and Path(now).exists() and Path(was).samefile(now)


def _with_data(plan: Plan) -> Work:
    """Return the `Work` with the prepared data of each model; models without data are left out."""
    found, left_out = {}, {}
    for name, config in plan.models.items():
        try:
            found[name] = data.prepare(
                config.data.data, size=config.data.size, conditional=config.data.conditional
            )
        except UserError as error:
            argument = "`data`" if name in PIXELS else "`imagenet`"
            left_out[name] = f"{error} ({argument} is the path of the images)"
    if not found:
        raise UserError(f"no model can be trained: {next(iter(left_out.values()))}")
    return Work(plan, found, left_out)


def _read(plan: Path) -> dict[str, Any]:
    try:
        known = parsed(content(plan))
    except (OSError, ValueError):
        known = None
    if not isinstance(known, dict):
        raise UserError(f"{plan} is damaged: restore it, or choose another `out`")
    return known
