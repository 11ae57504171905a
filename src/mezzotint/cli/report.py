"""The verb ``report``."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Literal

from rich.progress import Progress

from mezzotint import pages
from mezzotint.cli.bars import bar
from mezzotint.cli.flags import parse, subject, writable
from mezzotint.drawing.page import render
from mezzotint.errors import UserError
from mezzotint.pages import Asked


@dataclass(frozen=True)
class ReportFlags:
    """One HTML page of a run, or of several compared, that needs nothing but itself."""

    out: Path
    """The page."""
    samples: int = 8
    """Pictures of each class, of up to ten classes; some 75 others are made beside them."""
    seed: int = 0
    """Picture i follows from the seed and i alone."""
    precision: Literal["float32", "bf16", "auto"] = "float32"
    """What the networks compute in; auto is bf16 where the hardware has it."""


def report(arguments: list[str]) -> None:
    """Make a page of one run or of several."""
    shown = ReportFlags(Path("RUN/report.html"))
    subject(arguments, "a run, or several to compare", "mezzotint report RUN...", shown)
    names = list(takewhile(lambda word: not word.startswith("-"), arguments))
    folder = Path(names[0]) if len(names) == 1 else Path()
    program = f"mezzotint report {' '.join(names)}"
    flags = parse(ReportFlags(folder / "report.html"), arguments[len(names) :], program)
    for name, number, least in (("samples", flags.samples, 1), ("seed", flags.seed, 0)):
        if number < least:
            raise UserError(f"{name} is {number}: give {least} or more")
    if flags.out.is_dir():
        raise UserError(f"{flags.out} is a folder: give --out a file's name")
    writable(flags.out)
    asked = Asked(flags.samples, flags.seed, flags.precision)
    with _Following() as following:
        page = pages.page([Path(name) for name in names], asked, following.on)
    flags.out.write_text(render(page), encoding="utf-8")
    print(f"{flags.out}: {flags.out.stat().st_size / 1e6:.1f} MB, open it in a browser")


class _Following:
    """A bar for each thing that is made, one after the other."""

    def __init__(self) -> None:
        self.bar: Progress | None = None
        self.what = ""

    def __enter__(self) -> _Following:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.stop()

    def on(self, what: str, done: float, total: int) -> None:
        if not self.bar or what != self.what:
            self.__exit__()
            self.bar, self.what = bar("pictures"), what
            self.bar.add_task(what, total=total, loss="")
            self.bar.start()
        self.bar.update(self.bar.task_ids[0], completed=int(done))
        if done >= total:
            self.__exit__()
            self.bar = None
