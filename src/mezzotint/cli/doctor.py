"""The verb ``doctor``."""

from __future__ import annotations

import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

from mezzotint.cli.bars import bar
from mezzotint.cli.flags import parse, subject
from mezzotint.doctor import Finding, examine


@dataclass(frozen=True)
class DoctorFlags:
    """Name what is wrong with a run, with the likely cause and the fix. Exits with 1 where
    something is wrong, with 0 where nothing is, or no worse than doubtful."""

    samples: int = 128
    """Pictures made to look at: of fewer only larger faults are seen."""


def doctor(arguments: list[str]) -> None:
    """Look a run over."""
    name, rest = subject(arguments, "a run's folder", "mezzotint doctor RUN", DoctorFlags())
    flags = parse(DoctorFlags(), rest, f"mezzotint doctor {name}")
    progress = bar("denoiser calls", transient=True)
    task = progress.add_task("pictures", total=None, loss="")

    def follow(what: str, done: float, total: int) -> None:
        progress.start()
        progress.update(task, completed=int(done), total=total)
        if done == total:
            progress.stop()

    found: list[Finding] = []
    try:
        for finding in examine(Path(name), flags.samples, follow):
            found.append(finding)
            if finding.severity != "well":
                print(told(finding), flush=True)
    finally:
        progress.stop()
    well = ", ".join(finding.title for finding in found if finding.severity == "well")
    print(textwrap.fill(f"looked for, and not found: {well}", 100, subsequent_indent="  "))
    wrong, doubtful = (
        sum(finding.severity == severity for finding in found) for severity in ("wrong", "doubtful")
    )
    print(f"{name}: {wrong or 'nothing'} wrong, {doubtful or 'nothing'} doubtful")
    sys.exit(1 if wrong else 0)


def told(finding: Finding) -> str:
    """A finding as four short lines."""
    parts = {"measured": finding.measured, "cause": finding.cause, "fix": finding.fix}
    lines = [f"  {name}: {text}" for name, text in parts.items()]
    return "\n".join([f"{finding.severity}: {finding.title}", *lines])
