"""The verb ``average``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mezzotint.cli.flags import parse, subject
from mezzotint.errors import UserError
from mezzotint.run.averages import rebuild


@dataclass(frozen=True)
class AverageFlags:
    """Rebuild averages of a run's weights, of any length, from what --snapshots kept of them."""

    out: Path
    """The folder of their folders."""
    length: tuple[float, ...] = ()
    """Relative lengths: 0.1 is a standard deviation of a tenth of the training so far."""


def average(arguments: list[str]) -> None:
    """Rebuild averages of a run's weights of other lengths."""
    shown = AverageFlags(Path("RUN/averages"))
    what = "a run that was trained with --snapshots"
    name, rest = subject(arguments, what, "mezzotint average RUN", shown)
    folder = Path(name)
    flags = parse(AverageFlags(folder / "averages"), rest, f"mezzotint average {name}")
    if not flags.length:
        raise UserError("give --length: 0.1 is a tenth of the training")
    for made, error in rebuild(folder, flags.length, flags.out):
        print(f"{made}: fitted to {error:.2%}")
