"""The doctor's report: one finding for each fault that it checked for."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Literal

Severity = Literal["wrong", "doubtful", "well"]
Title = Literal[
    "warm-up never ended",
    "too short a training",
    "loss not finite",
    "unfinished training",
    "loss never fell",
    "plateau",
    "gradient clipped",
    "gradient exploding",
    "training slowed down",
    "discriminator out of balance",
    "adversarial weight at its bound",
    "schedule does not end in noise",
    "sampling does not start from noise",
    "eps predicted from pure noise",
    "guidance without label dropout",
    "EMA half-life longer than training",
    "damaged checkpoint",
    "weights not finite",
    "training set missing",
    "unconditional model",
    "network no better than a guess",
    "EMA lagging",
    "labels ignored",
    "colour drift",
    "grey samples",
    "saturated samples",
    "noisy samples",
    "samples all alike",
    "memorisation",
    "labels shuffled",
    "too few samples",
    "latents not scaled",
    "poor reconstruction",
    "dead latent channels",
    "posterior exploding",
]
MEDIUM, LARGE = 0.5, 0.8
"""Sizes of an effect, in standard deviations (Cohen's d) or as an angle between two shares (h).

Cohen calls 0.5 visible to the naked eye and 0.8 grossly perceptible (Statistical Power Analysis for
the Behavioral Sciences, 1988, sections 2.2 and 6.2)."""
SURE = 3.0
"""A difference counts if it exceeds this many standard errors. By chance, 0.3 % of differences
do."""


@dataclass(frozen=True)
class Finding:
    """A fault that the doctor checked for, and whether the run has it.

    ``severity`` is "wrong" (no healthy run shows this), "doubtful" (this may be intended, or due to
    chance) or "well" (the fault was not found). The texts name options as Python arguments in
    backquotes, which the command line replaces with flags.
    """

    severity: Severity
    title: Title
    measured: str  # the numbers, and their expected values
    cause: str = ""  # the likely cause; "" if the fault was not found
    fix: str = ""

    def __str__(self) -> str:
        parts = {"measured": self.measured, "cause": self.cause, "fix": self.fix}
        lines = [f"  {name}: {text}" for name, text in parts.items() if text]
        return "\n".join([f"{self.severity}: {self.title}", *lines])


class Findings(list[Finding]):
    """The doctor's findings, in the order of the checks; they print as a summary."""

    @property
    def wrong(self) -> list[Finding]:
        """The findings whose severity is "wrong": faults that the run certainly has."""
        return [finding for finding in self if finding.severity == "wrong"]

    @property
    def doubtful(self) -> list[Finding]:
        """The findings whose severity is "doubtful": faults that the run may have."""
        return [finding for finding in self if finding.severity == "doubtful"]

    @property
    def well(self) -> list[Finding]:
        """The findings whose severity is "well": faults that the run does not have."""
        return [finding for finding in self if finding.severity == "well"]

    def __repr__(self) -> str:
        faults = [str(finding) for finding in self if finding.severity != "well"]
        return "\n".join([*faults, *self.summary()])

    def summary(self) -> list[str]:
        """Return two lines: which faults were looked for but not found, and how many were found."""
        well = f"looked for and not found: {', '.join(finding.title for finding in self.well)}"
        counts = f"{len(self.wrong) or 'nothing'} wrong, {len(self.doubtful) or 'nothing'} doubtful"
        return [textwrap.fill(well, 100, subsequent_indent="  "), counts]


def judge(
    title: Title,
    measured: str,
    cause: str,
    fix: str,
    *,
    wrong: bool = False,
    doubtful: bool = False,
) -> Finding:
    """Make a finding; its severity is "well" if it is neither wrong nor doubtful."""
    if not (wrong or doubtful):
        return Finding("well", title, measured)
    return Finding("wrong" if wrong else "doubtful", title, measured, cause, fix)
