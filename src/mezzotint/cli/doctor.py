"""The verb ``doctor``."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from mezzotint.cli.flags import parse, subject
from mezzotint.doctor import Finding, diagnose
from mezzotint.drawing.bars import Follower
from mezzotint.errors import as_flags


@dataclass(frozen=True)
class DoctorFlags:
    """Examine a run for faults, and name their likely causes and fixes.

    Exits with 1 if something is wrong, and with 0 if nothing is or is only doubtful.
    """

    samples: int = 128
    """How many samples to make; more of them show smaller faults."""


def doctor(arguments: list[str]) -> None:
    """Examine a run."""
    name, rest = subject(arguments, "a run's folder", "mezzotint doctor RUN", DoctorFlags())
    flags = parse(DoctorFlags(), rest, f"mezzotint doctor {name}")
    with Follower("denoiser calls") as follow:

        def say(finding: Finding) -> None:
            if finding.severity != "well":
                follow.say(as_flags(str(finding)))

        found = diagnose(name, flags.samples, on_finding=say, on_progress=follow)
    well, counts = found.summary()
    print(well)
    print(f"{name}: {counts}")
    sys.exit(1 if found.wrong else 0)
