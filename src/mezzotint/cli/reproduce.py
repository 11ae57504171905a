"""The verb ``reproduce``."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mezzotint import evaluation, paper
from mezzotint.cli.flags import parse
from mezzotint.cli.table import Following
from mezzotint.errors import Interrupted, UserError
from mezzotint.paper import Results, Scale, Work
from mezzotint.run.watching import watch
from mezzotint.storage.progress import told


@dataclass(frozen=True)
class ReproduceFlags:
    """Train, sample and measure what arXiv 2412.14422 did, and write a table and a page of it.

    What is there already is not done again: after an interruption give the same command.
    """

    scale: Scale = "glyphs"
    """glyphs: minutes, no download; cifar10: hours; full: the report's own budget, for GPUs."""
    only: tuple[str, ...] = ("A", "B", "C", "D")
    """Which experiments: A to D."""
    out: Path | None = None
    """The folder; by default runs/reproduce-SCALE."""
    data: str = ""
    """Where CIFAR-10 is, or other pictures for A, B and D; by default what the recipe says."""
    imagenet: str = ""
    """Where pictures for C are: 100 classes of ImageNet, as `mezzotint train --data` takes them."""
    vae: str = ""
    """An autoencoder for C, as `mezzotint train --vae` takes it, instead of training one."""
    images: int | None = None
    """Images that each diffusion model sees (`full` takes 7,808,000 as the report; Ho et al.
    102,400,000)."""
    samples: int | None = None
    """Pictures a row."""
    seed: int = 0
    """Of trainings and pictures."""
    precision: Literal["float32", "bf16", "auto"] = "auto"
    """What pictures are made in; auto is bf16 where the hardware has it."""
    hours: float = 24
    """A training that would take longer is left out, and its rows say so."""


def reproduce(arguments: list[str]) -> None:
    """The report's experiments."""
    flags = parse(ReproduceFlags(), arguments, "mezzotint reproduce")
    for name, number in (("images", flags.images), ("samples", flags.samples)):
        if number is not None and number < 1:
            raise UserError(f"{name} is {number}: give 1 or more")
    if not math.isfinite(flags.hours):
        raise UserError(f"hours is {flags.hours}: give a finite number")
    if flags.seed < 0:
        raise UserError(f"seed is {flags.seed}: choose 0 or more")
    share, device = evaluation.join()
    if share.count > 1:
        raise UserError("reproduce is one process's work: start it without torchrun")
    plan = paper.plan(
        *(flags.scale, flags.only, flags.out or Path("runs") / f"reproduce-{flags.scale}"),
        data=flags.data,
        imagenet=flags.imagenet,
        vae=flags.vae,
        images=flags.images,
        samples=flags.samples,
        seed=flags.seed,
        precision=flags.precision,
    )
    work = paper.begin(plan)
    _say(work, flags.hours)
    try:
        for name, steps in paper.trainings(work):
            watch(steps, f"train {name}", shown=True)
    except Interrupted as stop:
        print(
            f"mezzotint: stopped by {stop.name}, all saved: give the same command to go on",
            file=sys.stderr,
        )
        sys.exit(128 + stop.number)
    with Following(plan.samples) as following:
        rows = paper.recorded(work)
        for row in work.rows():
            if row in rows:
                continue

            def follow(what: str, done: float, total: int, name: str = row.name) -> None:
                following.on(f"{name}: {what}", done, total)

            rows[row] = paper.measure(work, row, device, follow)
            following.bar.stop()
            figures = ", ".join(f"{f['name']} {f['value']:.4g}" for f in rows[row]["figures"])
            print(f"{row.letter}: {row.name}: {figures}", flush=True)
            following.bar.start()
        study = paper.study(work, following.on)
    ordered = {row: rows[row] for row in plan.rows if row in rows}
    page = paper.write(Results(work, ordered, study))
    print(f"the table: {page.with_name('reproduce.md')}")
    print(f"the page, to open in a browser: {page}")


def _say(work: Work, hours: float) -> None:
    """What will be done, and how long it will take."""
    total = 0.0
    print(f"{work.plan.folder}:")
    for what, seconds in paper.estimate(work, hours):
        total += seconds
        print(f"  {what}: about {told(seconds)}", flush=True)
    for name in work.plan.models:
        if why := work.needs(name):
            print(f"  {name} is left out: {why}")
    print(f"  in all: {f'about {told(total)}' if total else 'nothing left to do'}", flush=True)
