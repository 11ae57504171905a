"""The verb ``sweep``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mezzotint import evaluation, tuning
from mezzotint.cli.flags import parse, subject
from mezzotint.cli.table import Following, Network
from mezzotint.config.sampling import SampleConfig
from mezzotint.errors import UserError
from mezzotint.pipeline import loading
from mezzotint.storage.progress import told
from mezzotint.tuning import Cell, Sweep
from mezzotint.tuning.page import name as named
from mezzotint.tuning.page import where

NFE = (5, 10, 20)


@dataclass(frozen=True)
class SweepFlags:
    """Measure a run's pictures by sampler, guidance and denoiser calls, and keep the best settings.

    They are the run's defaults from then on. Cells that were measured are not measured again.
    """

    guidance: tuple[float, ...]
    """Guidance scales."""
    interval: tuple[str, ...]
    """Where to guide: none, or two values of sigma / alpha such as 0.2,5."""
    sampler: tuple[str, ...] = ("ddim", "dpmpp_2m", "dpmpp_2m_sde")
    """Sampling methods."""
    nfe: tuple[int, ...] = ()
    """Budgets of denoiser calls a picture; by default 5, 10 and 20."""
    steps: tuple[int, ...] = ()
    """Denoising steps, in the place of budgets."""
    metric: Literal["fd", "sfd", "cs", "kd", "accuracy"] = "fd"
    """fd: Frechet distance, sfd: spatial, cs: classifier score, kd: kernel distance, accuracy."""
    network: Network | None = None
    """Feature network; by default the one in the package that suits the classes."""
    samples: str = "1000"
    """Pictures a cell: a number, 1k, 5k ..."""
    seed: int = 0
    """Picture i follows from the seed and i alone."""
    precision: Literal["float32", "bf16", "auto"] = "auto"
    """What the model computes in; auto is bf16 where the hardware has it."""
    minutes: float = 60
    """A sweep that would take longer is refused."""
    yes: bool = False
    """Take as long as it takes."""


def sweep(arguments: list[str]) -> None:
    """Find the best settings for a run."""
    shown = SweepFlags((1.0, 1.5, 3.0), ("none",))
    name, rest = subject(arguments, "a run", "mezzotint sweep RUN", shown)
    folder = Path(name)
    share, device = evaluation.join()
    if share.count > 1:
        raise UserError("a sweep is one process's work: start it without torchrun")
    pipe = loading.load(folder, device, recommended=False)
    if not (folder / "checkpoints").is_dir():
        raise UserError(f"{folder} is no run: a sweep is kept in one")
    own = "{:g},{:g}".format(*pipe.defaults.interval) if pipe.defaults.interval else "none"
    default = SweepFlags((1.0, 1.5, 3.0) if pipe.classes else (1.0,), (own,))
    flags = parse(default, rest, f"mezzotint sweep {folder}")
    if flags.nfe and flags.steps:
        raise UserError("give --nfe or --steps, not both")
    if flags.seed < 0:
        raise UserError(f"seed is {flags.seed}: choose 0 or more")
    if not pipe.classes and (flags.guidance, flags.interval) != ((1.0,), ("none",)):
        raise UserError("this model is unconditional: leave out --guidance and --interval")
    digest, pipe = pipe.digest, pipe.in_precision(flags.precision)
    nfe = flags.nfe or (() if flags.steps else NFE)
    intervals = [_interval(text) for text in flags.interval]
    hows = tuning.settings(pipe, flags.sampler, flags.guidance, intervals, nfe, flags.steps)
    plan = Sweep(
        *(folder, pipe, digest, flags.precision, flags.network or evaluation.choose(pipe.classes)),
        *(flags.metric, evaluation.tiers(flags.samples)[-1], flags.seed),
    )
    cells = _cells(plan, hows, flags)
    found = tuning.recommend(plan, cells, nfe or [cell.calls for cell in cells])
    tuning.write(plan, cells, found)
    for calls, choice in found.budgets.items():
        low, high = choice.interval
        best = f"{named(choice.settings)}, {choice.settings.steps} steps"
        print(f"best within {calls:>4} calls: {best}: {choice.value:.4g} [{low:.4g}, {high:.4g}]")
    print(f"the table and its figures: {plan.file.with_name('sweep.md')}")
    print(f"the best is the run's default from now on: {folder / 'recommended.json'}")


def _cells(plan: Sweep, hows: list[SampleConfig], flags: SweepFlags) -> list[Cell]:
    """All cells, those that are not known measured now, each said as it comes."""
    known = tuning.known(plan, hows)
    missing = [how for how in hows if how not in known]
    said = f"{len(hows)} cells of {plan.samples:,} pictures"
    if missing:
        against = evaluation.training_set(plan.folder, plan.pipe)
        seconds = tuning.seconds(plan, missing)
        if not (flags.yes or seconds <= 60 * flags.minutes):
            raise UserError(
                f"{len(missing)} cells of {plan.samples:,} pictures would take about "
                f"{told(seconds)}, more than --minutes {flags.minutes:g}: add --yes, or ask for "
                "less"
            )
        said += f", {len(missing)} to be measured in about {told(seconds)}"
        by = evaluation.measure(plan.network, against, plan.pipe.size, plan.pipe.device)
        plan.compile_for(missing)
    else:
        said += ", all measured before"
    print(said)
    print(_row("calls", "sampler", "steps", "guidance", plan.name, "class accuracy"), flush=True)
    cells = []
    with Following(plan.samples) as following:
        for i, how in enumerate(hows, 1):

            def follow(what: str, done: float, total: int, i: int = i) -> None:
                following.on(f"cell {i} of {len(hows)}: {what}", done, total)

            cell = known.get(how) or tuning.measure(plan, how, by, follow)
            cells.append(cell)
            following.bar.stop()
            print(_line(cell), flush=True)
            following.bar.start()
    return cells


def _line(cell: Cell) -> str:
    figure, how, right = cell.figure, cell.how, cell.accuracy
    value = f"{figure.value:.4g} [{figure.low:.4g}, {figure.high:.4g}]"
    accuracy = f"{right.value:.3f} [{right.low:.3f}, {right.high:.3f}]" if right else ""
    return _row(cell.calls, where(how), how.steps, f"{how.guidance:g}", value, accuracy)


def _row(*cells: object) -> str:
    widths = (">5", "<24", ">5", ">8", "<24", "<20")
    return "  ".join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def _interval(text: str) -> tuple[float, float] | None:
    if text == "none":
        return None
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        raise UserError(
            f"interval is {text!r}: give none, or two values of sigma / alpha such as 0.2,5"
        ) from None
    return low, high
