"""Faults that the log of a run reveals.

Each row of the log is a dictionary that `trainer.state.TrainState.summary` returns. Its numbers are
means over an interval of steps. A check returns None if the log has too few rows for it, or if it
does not apply to the training.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mezzotint.config.experiment import Configuration, Experiment
from mezzotint.doctor.finding import SURE, Finding, judge
from mezzotint.trainer.distilling.config import DistillationConfig
from mezzotint.trainer.loop import TrainConfig

Rows = Sequence[Mapping[str, Any]]
FEW = 8  # the least number of rows; a quarter of fewer rows would be a single row
BOUND = 1e4  # default upper bound of the adaptive weight of the adversarial loss


def look(rows: Rows, config: Configuration) -> Iterator[Finding]:
    """Yield the findings of all checks of the log that apply."""
    rows = [row for row in rows if "loss" in row]
    # The loss need not fall after the discriminator has started.
    alone = [row for row in rows if "discriminator" not in row]
    found = [
        finite(rows),
        unfinished(rows, config.train),
        None if fine_tuned(config) else fell(alone),
        plateau(alone, config.train),
        clipped(rows, config.train),
        exploding(rows),
        slowed(rows),
        discriminator(rows),
        adversarial_weight(rows),
    ]
    yield from (finding for finding in found if finding)


def fine_tuned(config: Configuration) -> bool:
    """Return whether a training starts from the weights of another model."""
    objective = config.objective if isinstance(config, Experiment) else None
    return bool(config.init) or isinstance(objective, DistillationConfig)


def finite(rows: Rows) -> Finding:
    """Return a finding on whether every number in the log is finite.

    Training stops instead of writing a row with NaN. So after a loss of NaN, the log usually ends
    too early: see `unfinished`.
    """
    bad = [
        (row["step"], name)
        for row in rows
        for name, value in row.items()
        if isinstance(value, int | float) and not math.isfinite(value)
    ]
    first = "".join(f", first {name} at step {step}" for step, name in bad[:1])
    return judge(
        "loss not finite",
        f"{len(bad)} of {len(rows)} rows hold a number that is not finite{first}; expected 0",
        "the learning rate is too high, or half precision overflowed",
        'train again with a lower `lr` or `precision="float32"`, in another `out`',
        wrong=bool(bad),
    )


def unfinished(rows: Rows, train: TrainConfig) -> Finding:
    """Return a finding that compares the number of images seen with the configured number."""
    seen = rows[-1]["images"] if rows else 0
    return judge(
        "unfinished training",
        f"the run has seen {seen:,} of {train.steps * train.batch:,} images",
        "the training was stopped, is still running, or ended at a loss of NaN",
        "continue the training with `resume=True`; after a loss of NaN, train again with a lower "
        "`lr`",
        doubtful=seen + train.batch <= train.images,
    )


def fell(rows: Rows) -> Finding | None:
    """Return a finding on whether the last quarter's mean loss is below the first row's loss.

    The mean must be lower by more than 2 standard errors. A loss that only varies by chance passes
    this check in 1 of 40 cases. The noise of a row is estimated as the standard deviation of the
    differences between neighbouring rows, divided by sqrt(2) (von Neumann 1941). A trend hardly
    affects this estimate.
    """
    loss = _values(rows, "loss")
    if len(loss) < FEW:
        return None
    late = _late(loss)
    error = _noise(loss[len(loss) // 2 :]) * (1 + 1 / len(late)) ** 0.5
    return judge(
        "loss never fell",
        f"the loss is {loss[0]:.4g} in the first row and {late.mean():.4g} in the last quarter; "
        f"expected less than {loss[0] - 2 * error:.4g}",
        "the learning rate is far too low or too high, or the data is noise",
        "train again with `lr=2e-4` (or the recipe's own), and look at the images in `data`",
        wrong=bool(loss[0] - late.mean() <= 2 * error),
    )


def plateau(rows: Rows, train: TrainConfig) -> Finding | None:
    """Return a finding on whether the loss fell over the last half of the log.

    The check applies if, throughout this half, the warm-up was over and the learning rate was at
    least half of its full value. The loss is on a plateau unless its least-squares slope is more
    than 2 standard errors below 0. At a constant rate the noise of the steps keeps the loss above a
    floor. Lowering the rate to 0 takes the loss below that floor (Haegele et al. 2024, arXiv
    2405.18392). A plateau is only "doubtful", because most of a diffusion model's loss is
    irreducible, and samples improve even on a plateau.
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
        f"the loss changed by {slope:+.3g} +- {error:.1g} over the last half of the log, around "
        f"{loss.mean():.4g}; expected a fall",
        "the learning rate is too high for the loss to fall further, or the network is too small",
        "train with `cooldown=0.5`, and evaluate the model: samples may still improve",
        doubtful=bool(slope >= -2 * error),
    )


def clipped(rows: Rows, train: TrainConfig) -> Finding | None:
    """Return a finding that compares the median gradient norm with twice the clipping threshold.

    The median is over the rows of the log after the warm-up. Pascanu et al. 2013 (arXiv 1211.5063,
    section 3.2) clip at half to ten times the usual norm. A threshold below half of the usual norm
    shortens every step, not only steps with unusually large gradients.
    """
    norms = _values([row for row in rows if row["images"] > train.warmup], "grad_norm")
    if len(norms) < FEW:
        return None
    usual = float(np.median(norms))
    return judge(
        "gradient clipped",
        f"the median gradient norm is {usual:.3g}, and gradients are clipped to {train.clip:g}; "
        f"expected at most {2 * train.clip:g}",
        "`clip` is too low for this loss, or the learning rate is so high that training is rough",
        f"train again with `clip={usual:.1g}` or a lower `lr`",
        doubtful=usual > 2 * train.clip,
    )


def exploding(rows: Rows) -> Finding | None:
    """Return a finding on whether the gradient norm has grown more than tenfold.

    The median over the log's last quarter is compared with the median over the earlier rows. The
    standard deviation of the norm over single steps is about as large as the norm. A row of the log
    is a mean over many steps, which varies less. So a factor of ten is not chance.
    """
    norms = _values(rows, "grad_norm")
    if len(norms) < FEW:
        return None
    late = float(np.median(_late(norms)))
    before = float(np.median(norms[: -len(_late(norms))]))
    return judge(
        "gradient exploding",
        f"the median gradient norm is {late:.3g} in the last quarter and {before:.3g} before; "
        f"expected less than {10 * before:.3g}",
        "training diverges: the learning rate is too high",
        "train again with a lower `lr` or a longer `warmup`",
        wrong=late > 10 * before,
    )


def slowed(rows: Rows) -> Finding | None:
    """Return a finding on whether the training has slowed to less than half its earlier speed.

    The median speed over the log's last quarter is compared with the median over the earlier rows.
    Another training on the same machine can halve the speed, for example.
    """
    rate = _values(rows, "images_per_second")
    if len(rate) < FEW:
        return None
    late, before = np.median(_late(rate)), np.median(rate[: -len(_late(rate))])
    return judge(
        "training slowed down",
        f"the speed is {late:.3g} images/s in the last quarter and {before:.3g} before; expected "
        f"at least {before / 2:.3g}",
        "another process uses the machine, memory is swapped to disk, or the processor throttles",
        "check the machine's load and memory; the result of the training is not affected",
        doubtful=bool(late < before / 2),
    )


def discriminator(rows: Rows) -> Finding | None:
    """Check the discriminator's mean hinge loss in the last quarter of the log.

    A misjudged patch costs at least 1, so at a loss of 0.1 the discriminator misjudges at most one
    patch in ten. Then it is too strong, and its gradient teaches the decoder little. A
    discriminator that cannot tell reconstructions from images returns 0, with a loss of exactly 1.
    So a discriminator is too weak unless its loss is more than `SURE` standard errors below 1.
    """
    loss = _values(rows, "discriminator")
    if len(loss) < FEW:
        return None
    late = _late(loss)
    mean, error = float(late.mean()), _noise(late) / len(late) ** 0.5
    won, lost = mean < 0.1, mean >= 1 - SURE * error
    return judge(
        "discriminator out of balance",
        f"the discriminator's hinge loss is {mean:.3g} in the last quarter of the log; expected "
        f"0.1 to {1 - SURE * error:.3g}",
        "the discriminator recognises every reconstruction, and the decoder learns nothing from it"
        if won
        else "the discriminator cannot tell reconstructions from images",
        "make the discriminator smaller (`discriminator_width`, `discriminator_layers`), or start "
        "it later (`adversarial_from`)"
        if won
        else "if reconstructions are still blurred, start the discriminator later "
        "(`adversarial_from`) or make it larger (`discriminator_width`)",
        wrong=won,
        doubtful=lost,
    )


def adversarial_weight(rows: Rows) -> Finding | None:
    """Check the adaptive weight of the adversarial loss, averaged over the log's last quarter.

    Usual weights are far below the default bound, 10,000. The weight is at the bound if the
    discriminator's gradient vanishes. A mean above `BOUND` / 2 suggests that this happens often.
    """
    weights = _values(rows, "adversarial_weight")
    if len(weights) < FEW:
        return None
    mean = float(_late(weights).mean())
    return judge(
        "adversarial weight at its bound",
        f"the adaptive weight is {mean:.3g} on average in the last quarter; expected less than "
        f"{BOUND / 2:g}",
        "the discriminator gives the decoder no gradient",
        "train again with a later `adversarial_from`, or with a smaller discriminator",
        wrong=mean > BOUND / 2,
    )


def _values(rows: Rows, name: str) -> np.ndarray:
    """Return the finite values of a column of the log."""
    found = [float(row[name]) for row in rows if name in row]
    return np.array([value for value in found if math.isfinite(value)])


def _late(values: np.ndarray) -> np.ndarray:
    """Return the last quarter of some values."""
    return values[-(len(values) // 4) :]


def _noise(values: np.ndarray) -> float:
    """Return an estimate of the standard deviation of the noise of one value; see `fell`."""
    return float((np.diff(values) ** 2).mean() ** 0.5 / 2**0.5) if len(values) > 1 else 0.0
