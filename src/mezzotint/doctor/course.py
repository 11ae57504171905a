"""Faults in the course of a training. They are checked first, because they cause other faults."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from mezzotint.config.experiment import Configuration, Experiment
from mezzotint.data import Prepared
from mezzotint.doctor.finding import Finding, Title, judge
from mezzotint.doctor.log import Rows, fine_tuned
from mezzotint.errors import counted
from mezzotint.trainer.loop import TrainConfig

LEAST = 1_000  # the least number of steps; the shortest recipe, glyphs-ddpm, has 2,500
ROOTS: tuple[Title, ...] = (
    "warm-up never ended",
    "too short a training",
    "loss not finite",
    "unfinished training",
)
"""The faults that most likely cause other faults, the likeliest cause first."""
FOLLOW: set[Title] = {
    "loss never fell",
    "EMA half-life longer than training",
    "network no better than a guess",
    "EMA lagging",
    "labels ignored",
    "colour drift",
    "grey samples",
    "saturated samples",
    "noisy samples",
    "samples all alike",
    "labels shuffled",
    "poor reconstruction",
}
"""The faults that other faults may cause; see `ordered`."""


def look(rows: Rows, config: Configuration) -> Iterator[Finding]:
    """Yield the findings on the warm-up and the length of a training."""
    rows = [row for row in rows if "loss" in row]
    yield warmed_up(rows, config.train)
    if not fine_tuned(config):  # a fine-tuning may be short
        yield long_enough(config.train)


def warmed_up(rows: Rows, train: TrainConfig) -> Finding:
    """Return a finding that compares the images seen with the length of the warm-up."""
    seen = rows[-1]["images"] if rows else 0
    reached = min(1.0, seen / train.warmup) if train.warmup else 1.0
    never = train.warmup >= train.images
    return judge(
        "warm-up never ended",
        f"the run has seen {seen:,} images, and the learning rate has risen to {reached:.0%} of "
        f"{train.lr:g}; expected 100%, after {train.warmup:,} images",
        f"the warm-up takes {train.warmup:,} images, but the whole training has {train.images:,}"
        if never
        else "the training was stopped during its warm-up, or is still in it",
        f"train again with `warmup={max(1, train.images // 20)}`, in another `out`"
        if never
        else "continue the training with `resume=True`",
        wrong=never and reached < 1,
        doubtful=reached < 1,
    )


def long_enough(train: TrainConfig) -> Finding:
    """Return a finding on whether the training has at least a thousand steps.

    After fewer steps, a randomly initialised network can hardly recognise noise.
    """
    return judge(
        "too short a training",
        f"the training has {counted(train.steps, 'step')}; expected {LEAST:,} or more",
        f"{train.images:,} images are few for a network with random initial weights",
        f"continue the training with `resume=True` and `images={LEAST * train.batch}` or more",
        doubtful=train.steps < LEAST,
    )


def conditional(config: Experiment, data: Prepared) -> Finding:
    """Return a finding on whether the network uses the classes of the data, if there are any."""
    count = len(data.classes)
    ignored = count > 1 and not config.data.conditional
    guided = f", and the guidance {config.sample.guidance:g} is not applied"
    return judge(
        "unconditional model",
        f"the data has {counted(count, 'class', 'classes')}, and the network is "
        f"{'conditioned on them' if count and config.data.conditional else 'unconditional'}"
        + (guided if ignored and config.sample.guidance != 1 else ""),
        "the model was trained with `conditional=False`: it accepts no labels, and cannot be "
        "guided",
        "nothing, if this is intended; for labels and guidance train again with `conditional=True`",
        doubtful=ignored,
    )


def ordered(findings: Iterator[Finding]) -> Iterator[Finding]:
    """Yield the findings in the given order, and add the common cause of faults to their texts.

    The first fault found that is in `ROOTS` is the likeliest cause of every later fault that is in
    `FOLLOW`. So the later faults name this cause before their own causes, and its fix before their
    own fixes.
    """
    root: Finding | None = None
    for finding in findings:
        faulty = finding.severity != "well"
        if root and faulty and finding.title in FOLLOW:
            cause = f"most likely {root.title}, as above; else {finding.cause}"
            finding = replace(finding, cause=cause, fix=f"{root.fix}; else {finding.fix}")
        elif faulty and finding.title in ROOTS and root is None:
            root = finding
        yield finding
