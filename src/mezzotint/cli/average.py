"""The verb ``average``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mezzotint.cli.answer import Answer
from mezzotint.cli.flags import parse, subject
from mezzotint.run import averages


@dataclass(frozen=True)
class AverageFlags:
    """Rebuild averages of a run's weights over periods of any length.

    The run must have been trained with --snapshots.
    """

    out: Path
    """The folder to write the averages to."""
    length: tuple[float, ...] = ()
    """The lengths of the averages, relative to the training so far: 0.1 is a tenth of it. A length
    is the standard deviation of the step numbers, weighted as in the average."""


def average(arguments: list[str]) -> Answer:
    """Rebuild averages of a run's weights."""
    shown = AverageFlags(Path("RUN/averages"))
    what = "a run that was trained with --snapshots"
    name, rest = subject(arguments, what, "mezzotint average RUN", shown)
    folder = Path(name)
    flags = parse(AverageFlags(folder / "averages"), rest, f"mezzotint average {name}")
    found = averages.average(folder, flags.length, flags.out)
    for made in found:
        print(f"wrote {made.path}; its weighting of steps has a relative error of {made.error:.2%}")
    return Answer({"averages": found})
