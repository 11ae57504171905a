"""What a run's log tells: each row is a mean over an interval of steps.

Rows are dictionaries of `trainer.state.TrainState.summary`. Those that say nothing of a fault are
too few, or not of such a training, and give None.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mezzotint.config.experiment import Configuration, Experiment
from mezzotint.doctor.finding import SURE, Finding, judge
from mezzotint.trainer.loop import TrainConfig

Rows = Sequence[Mapping[str, Any]]
FEW = 8  # rows of which a quarter is no more than one


def look(rows: Rows, config: Configuration) -> Iterator[Finding]:
    """All that follows, of what of it there is in the log."""
    rows = [row for row in rows if "loss" in row]
    apart = [row for row in rows if "discriminator" not in row]  # what it is set against is no goal
    tuned = not isinstance(config, Experiment) and bool(config.init)
    found = [
        finite(rows),
        unfinished(rows, config.train),
        None if tuned else fell(apart),
        plateau(apart, config.train),
        clipped(rows, config.train),
        exploding(rows),
        slowed(rows),
        discriminator(rows),
        adversarial_weight(rows),
    ]
    yield from (finding for finding in found if finding)


def finite(rows: Rows) -> Finding:
    """Figures that are no numbers: none may be.

    Training stops before it writes such a row, so that what it leaves behind is mostly a log that
    ends too soon: see `unfinished`.
    """
    bad = [
        (row["step"], name)
        for row in rows
        for name, value in row.items()
        if isinstance(value, int | float) and not math.isfinite(value)
    ]
    measured = f"{len(bad)} of {len(rows)} rows" + "".join(
        f", the first of {name} at step {step}" for step, name in bad[:1]
    )
    return judge(
        "loss of NaN",
        f"{measured}; expected 0",
        "the learning rate is too high, or half precision overflowed",
        "begin again with a lower --lr, --precision float32 and another --out",
        wrong=bool(bad),
    )


def unfinished(rows: Rows, train: TrainConfig) -> Finding:
    """The last row's images, against those that were to be seen."""
    seen = rows[-1]["images"] if rows else 0
    return judge(
        "unfinished training",
        f"{seen:,} of {train.steps * train.batch:,} images",
        "it was stopped, goes on now, or ended at a loss of NaN",
        "go on with --resume; after a loss of NaN begin again with a lower --lr",
        doubtful=seen + train.batch <= train.images,
    )


def fell(rows: Rows) -> Finding | None:
    """Whether the last quarter's loss is below the first row's, by 2 standard errors (1 in 40).

    The noise of a row is that of its difference from the next, over sqrt(2): von Neumann's
    estimate (1941), which a trend hardly touches.
    """
    loss = _values(rows, "loss")
    if len(loss) < FEW:
        return None
    late = _late(loss)
    error = _noise(loss[len(loss) // 2 :]) * (1 + 1 / len(late)) ** 0.5
    return judge(
        "loss that never fell",
        f"{loss[0]:.4g} at first, {late.mean():.4g} in the last quarter; expected less than "
        f"{loss[0] - 2 * error:.4g}",
        "the learning rate is far too low or too high, or the data is noise",
        "begin again with --lr 2e-4 (or what the recipe says), and look at the pictures of --data",
        wrong=bool(loss[0] - late.mean() <= 2 * error),
    )


def plateau(rows: Rows, train: TrainConfig) -> Finding | None:
    """The loss's slope over the last half, where the learning rate was at least half of its full.

    A plateau is one that is not below 0 by 2 standard errors of the least-squares line. At a
    constant rate the loss ends on a floor of the steps' own noise, and a fall of the rate to 0
    takes it lower (Haegele et al. 2024, arXiv 2405.18392). It is no more than doubtful: the loss
    of a diffusion model is mostly what cannot be known, and pictures improve on a plateau too.
    """
    half = rows[len(rows) // 2 :]
    loss = _values(half, "loss")
    high = all(row["lr"] >= train.lr / 2 and row["images"] > train.warmup for row in half)
    if len(loss) < FEW or not high:
        return None
    x = np.linspace(-0.5, 0.5, len(loss))
    slope = (x @ loss) / (x @ x)
    rest = loss - loss.mean() - slope * x
    error = float(((rest @ rest) / (len(loss) - 2) / (x @ x)) ** 0.5)
    return judge(
        "plateau",
        f"the loss changed by {slope:+.3g} +- {error:.1g} over the last half, from "
        f"{loss.mean():.4g}; expected a fall",
        "the steps are too large for the loss to fall further, or the network is too small",
        "train with --cooldown 0.5, and judge by mezzotint evaluate: pictures may still improve",
        doubtful=bool(slope >= -2 * error),
    )


def clipped(rows: Rows, train: TrainConfig) -> Finding | None:
    """The median norm of the gradient after the warm-up, against twice the bound on it.

    Pascanu et al. 2013 (arXiv 1211.5063, section 3.2) set the bound to half to ten times the usual
    norm: below, it no longer holds back the exception but sets the length of every step.
    """
    norms = _values([row for row in rows if row["images"] > train.warmup], "grad_norm")
    if len(norms) < FEW:
        return None
    usual = float(np.median(norms))
    return judge(
        "gradient clipped",
        f"median norm {usual:.3g}, cut at {train.clip:g}; expected at most {2 * train.clip:g}",
        "the bound is too low for this loss, or the learning rate so high that training is rough",
        f"begin again with --clip {usual:.1g}, or a lower --lr",
        doubtful=usual > 2 * train.clip,
    )


def exploding(rows: Rows) -> Finding | None:
    """The median norm of the gradient in the last quarter, against ten times that before.

    A norm's spread is of about its own size, so ten times is beyond chance, all the more for rows
    that are means over many steps.
    """
    norms = _values(rows, "grad_norm")
    if len(norms) < FEW:
        return None
    late = float(np.median(_late(norms)))
    before = float(np.median(norms[: -len(_late(norms))]))
    return judge(
        "gradient exploding",
        f"median norm {late:.3g} in the last quarter, {before:.3g} before; expected less than "
        f"{10 * before:.3g}",
        "training diverges: the learning rate is too high",
        "begin again from an earlier checkpoint's settings with a lower --lr or a longer --warmup",
        wrong=late > 10 * before,
    )


def slowed(rows: Rows) -> Finding | None:
    """The median rate of the last quarter, against half of that before.

    Half is what a machine has left that is shared with one other like process.
    """
    rate = _values(rows, "images_per_second")
    if len(rate) < FEW:
        return None
    late, before = np.median(_late(rate)), np.median(rate[: -len(_late(rate))])
    return judge(
        "training slowed down",
        f"{late:.3g} images/s in the last quarter, {before:.3g} before; expected at least "
        f"{before / 2:.3g}",
        "another process shares the machine, it swaps, or it is throttled by heat",
        "look at the machine's load and memory; the result is the same, only later",
        doubtful=bool(late < before / 2),
    )


def discriminator(rows: Rows) -> Finding | None:
    """The discriminator's hinge loss in the last quarter.

    A patch that it misjudges costs 1 or more, so a loss of 0.1 means that it is right of nine in
    ten: it has won, and what it says hardly depends on the picture any longer. One that knows
    nothing answers 0 and loses exactly 1: lost, or not distinguishable from it by `SURE` errors.
    """
    loss = _values(rows, "discriminator")
    if len(loss) < FEW:
        return None
    late = _late(loss)
    mean, error = float(late.mean()), _noise(late) / len(late) ** 0.5
    won, lost = mean < 0.1, mean >= 1 - SURE * error
    return judge(
        "discriminator out of play",
        f"hinge loss {mean:.3g} in the last quarter; expected 0.1 to {1 - SURE * error:.3g}",
        "it tells every picture at once, and has nothing to teach" if won else "it cannot tell",
        "train it smaller (--discriminator-width, --discriminator-layers), or begin it later "
        "(--adversarial-from)"
        if won
        else "begin it later (--adversarial-from) or larger (--discriminator-width), "
        "if the reconstructions are still blurred",
        wrong=won,
        doubtful=lost,
    )


def adversarial_weight(rows: Rows) -> Finding | None:
    """The adaptive weight in the last quarter, against half of its bound of 1e4.

    A mean above half means that at least half of the steps were near the bound.
    """
    weights = _values(rows, "adversarial_weight")
    if len(weights) < FEW:
        return None
    mean = float(_late(weights).mean())
    return judge(
        "adversarial weight at its bound",
        f"mean {mean:.3g} in the last quarter; expected less than 5000",
        "the discriminator gives the picture no gradient",
        "begin again with a later --adversarial-from, or a smaller discriminator",
        wrong=mean > 5e3,
    )


def _values(rows: Rows, name: str) -> np.ndarray:
    """The finite ones of a figure."""
    found = [float(row[name]) for row in rows if name in row]
    return np.array([value for value in found if math.isfinite(value)])


def _late(values: np.ndarray) -> np.ndarray:
    return values[-(len(values) // 4) :]


def _noise(values: np.ndarray) -> float:
    """The standard deviation of one row: see `fell`."""
    return float((np.diff(values) ** 2).mean() ** 0.5 / 2**0.5) if len(values) > 1 else 0.0
