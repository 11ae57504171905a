"""The verb ``doctor``."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from mezzotint.cli.answer import Answer
from mezzotint.cli.flags import parse, subject
from mezzotint.doctor import Finding, diagnose
from mezzotint.drawing.bars import Follower
from mezzotint.errors import as_flags


@dataclass(frozen=True)
class DoctorFlags:
    """Examine a run for faults, and name their likely causes and fixes.

    The exit code is 1 if something is wrong, else 0. Doubtful findings do not change it.
    """

    samples: int = 128
    """How many samples to make; more samples show smaller faults."""


def doctor(arguments: list[str]) -> Answer:
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
    number = {name: len(getattr(found, name)) for name in ("wrong", "doubtful", "well")}
    findings = [{k: as_flags(text) for k, text in asdict(each).items()} for each in found]
    return Answer({**number, "findings": findings}, code=1 if found.wrong else 0)
