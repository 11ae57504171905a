"""What the doctor says: one finding a fault that was looked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["wrong", "doubtful", "well"]
Title = Literal[
    "loss of NaN",
    "unfinished training",
    "loss that never fell",
    "plateau",
    "gradient clipped",
    "gradient exploding",
    "training slowed down",
    "discriminator out of play",
    "adversarial weight at its bound",
    "schedule ends before noise",
    "sampling begins below noise",
    "eps asked of pure noise",
    "guidance without label dropout",
    "EMA half-life out of reach",
    "damaged checkpoint",
    "weights not finite",
    "training set missing",
    "network no better than none",
    "EMA lagging",
    "labels ignored",
    "colour drift",
    "grey pictures",
    "saturated pictures",
    "pictures all alike",
    "memorisation",
    "label shuffle",
    "too few samples",
    "latents unscaled",
    "poor reconstruction",
    "dead latent channels",
    "posterior exploding",
]
MEDIUM, LARGE = 0.5, 0.8
"""Sizes of an effect in standard deviations, d, or as angles of two shares, h: of 0.5 Cohen says
that it is visible to the naked eye, of 0.8 that it is grossly perceptible (Statistical Power
Analysis for the Behavioral Sciences, 1988, sections 2.2 and 6.2)."""
SURE = 3.0
"""Standard errors beyond which a difference is taken for one: 3 in 1,000 are by chance."""


@dataclass(frozen=True)
class Finding:
    """A fault that was looked for: found (wrong), perhaps (doubtful), or not (well)."""

    severity: Severity
    title: Title
    measured: str  # numbers, with what is expected of them
    cause: str = ""  # the likely one; none where all is well
    fix: str = ""


def judge(
    title: Title,
    measured: str,
    cause: str,
    fix: str,
    *,
    wrong: bool = False,
    doubtful: bool = False,
) -> Finding:
    """A finding of that severity, well where it is neither."""
    if not (wrong or doubtful):
        return Finding("well", title, measured)
    return Finding("wrong" if wrong else "doubtful", title, measured, cause, fix)
