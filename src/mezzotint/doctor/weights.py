"""What a run's weights tell: whole, finite, the average where it should be, better than nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from mezzotint.diffusion.level import Level, Schedule
from mezzotint.doctor.finding import SURE, Finding, judge
from mezzotint.errors import UserError
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.storage import checkpoint

SIGMAS = [math.exp(-1.2 + 1.2 * k) for k in (-1, 0, 1)]
"""sigma / alpha of 0.09, 0.3 and 1, where there is something to learn: the middle of what EDM
trains on, ln sigma ~ N(-1.2, 1.2^2) (Karras et al. 2022, arXiv 2206.00364, table 1)."""


def checkpoints(folder: Path) -> Finding:
    """Every checkpoint of a run, against the SHA-256 sums in its manifest."""
    held = checkpoint.listed(folder) + [p for p in [folder / "best"] if p.exists()]
    damaged = []
    for path in held:
        try:
            checkpoint.verify(path)
        except UserError as error:
            damaged.append((path, str(error)))
    return judge(
        "damaged checkpoint",
        f"{len(damaged)} of {len(held)}" + "".join(f"; {told}" for _, told in damaged[:1]),
        "a failing disk, a copy cut short, or a file changed by hand",
        f"restore it from a copy, or remove {damaged[0][0]} and go on with --resume"
        if damaged
        else "",
        wrong=bool(damaged),
    )


def finite(weights: Mapping[str, Mapping[str, Tensor]]) -> Finding:
    """The numbers of each set of weights, by its name."""
    bad = [
        f"{name}.{key}"
        for name, tensors in weights.items()
        for key, tensor in tensors.items()
        if not tensor.isfinite().all()
    ]
    return judge(
        "weights not finite",
        f"{len(bad)} tensors{': ' + bad[0] if bad else ''}; expected 0",
        "training went on after a loss of NaN, or a file was converted in too narrow a type",
        "take an earlier checkpoint, or begin again with a lower --lr",
        wrong=bool(bad),
    )


def levels(schedule: Schedule) -> list[Level]:
    """Those of `SIGMAS`."""
    return [schedule.at(-math.log(sigma)) for sigma in SIGMAS]


@torch.inference_mode()
def denoised(
    pipe: Pipeline, x0: Tensor, eps: Tensor, level: Level, labels: Tensor | None
) -> Tensor:
    """x0_hat of pictures (B, C, H, W) in that noise, in batches of 64."""
    parts = []
    for i in range(0, len(x0), 64):
        part = slice(i, i + 64)
        denoise = pipe.denoiser(None if labels is None else labels[part], clipping="none")
        parts.append(denoise(level.alpha * x0[part] + level.sigma * eps[part], level))
    return torch.cat(parts)


def errors(pipe: Pipeline, x0: Tensor, eps: Tensor, labels: Tensor | None) -> Tensor:
    """``|x0_hat - x0|^2 / trivial`` of each picture at each of `levels`, (levels, B).

    trivial is the error of the better of the two predictors that know nothing: x0's mean, with its
    variance, and x / alpha, with sigma^2 / alpha^2.
    """
    variance = float((x0 - x0.mean((0, 2, 3), keepdim=True)).square().mean())
    found = []
    for level in levels(pipe.schedule):
        wrong = (denoised(pipe, x0, eps, level, labels) - x0).square().flatten(1).mean(1)
        found.append(wrong / min(variance, (level.sigma / level.alpha) ** 2))
    return torch.stack(found)


def informed(found: Tensor) -> Finding:
    """The raw network's `errors`: below 1 at every level, or it has learned nothing there."""
    means = found.mean(1).tolist()
    told = ", ".join(f"{m:.2g} at {s:.2g}" for m, s in zip(means, SIGMAS, strict=True))
    return judge(
        "network no better than none",
        f"error over that of the data's mean or of the noisy picture itself, by sigma / alpha: "
        f"{told}; expected below 1",
        "hardly trained, trained on another schedule or prediction, or diverged",
        "train on with --resume, or begin again with a lower --lr",
        wrong=min(means) >= 1,
        doubtful=max(means) >= 1,
    )


def lagging(apart: float, averaged: Tensor, raw: Tensor) -> Finding:
    """The averaged weights beside the raw ones: where they are, and what they do.

    ``apart`` is ``|ema - raw| / |raw - initial|``, 1 for an average that still is the initial
    noise. A half-life of a twentieth of the images seen, the longest of `trainer.ema`, has a mean
    age of 0.072 of them: weights that walk straight are 0.07 apart, those that walk at random
    ``sqrt(0.072 / 2)`` = 0.19; so half is out of reach. ``averaged`` and ``raw`` (B,) are the
    errors of the same pictures over that of knowing nothing: of what the raw network has learned
    the average may not have lost half, and a tenth only within `SURE` standard errors.
    """
    worse = averaged - raw
    learned = float(1 - raw.mean())
    lost = float(worse.mean()) / learned if learned > 0 else 0.0
    sure = float(worse.mean()) > SURE * float(worse.std()) / len(worse) ** 0.5
    return judge(
        "EMA lagging",
        f"{apart:.2f} of the way from the raw weights back to the initial ones, expected at most "
        f"0.2; {lost:+.0%} of what was learned is missing in it, expected less than 10%",
        "the average still holds the weights of the beginning: its half-life is too long, or the "
        "checkpoint was put together by hand",
        "train on with --resume, or begin again with a shorter --ema-halflife",
        wrong=lost > 0.5 and sure,
        doubtful=apart > 0.5 or (lost > 0.1 and sure),
    )


def distance(
    averaged: Mapping[str, Tensor], raw: Mapping[str, Tensor], initial: Mapping[str, Tensor]
) -> float:
    """``|ema - raw| / |raw - initial|`` over all weights; 0 where nothing has moved."""

    def norm(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
        return math.sqrt(sum(float((a[key] - b[key]).square().sum()) for key in raw))

    moved = norm(raw, initial)
    return norm(averaged, raw) / moved if moved else 0.0


def labels_matter(pipe: Pipeline, x0: Tensor, eps: Tensor, labels: Tensor) -> Finding:
    """What the label changes of x0_hat at sigma / alpha = 1, in the middle of where guidance helps.

    (Kynkaanniemi et al. 2024, arXiv 2404.07724: 0.3 to 3.) Conditional and unconditional outputs
    that agree to the rounding, 1e-4 of the error, come of a network that is not told. A right label
    that helps no more than a wrong one, by 2 standard errors of the same pictures in the same
    noise, says nothing of the pictures.
    """
    level, others = levels(pipe.schedule)[-1], (labels + 1) % len(pipe.classes)
    told = denoised(pipe, x0, eps, level, labels)
    other = denoised(pipe, x0, eps, level, others)
    untold = denoised(pipe, x0, eps, level, None)
    wrong = (told - x0).square().flatten(1).mean(1)
    gain = (other - x0).square().flatten(1).mean(1) - wrong
    changed = float(((told - untold).square().mean() / wrong.mean()).sqrt())
    sigmas = float(gain.mean() / (gain.std() / len(gain) ** 0.5).clamp(min=1e-12))
    return judge(
        "labels ignored",
        f"the label changes the output by {changed:.2g} of its error, expected above 1e-4; a right "
        f"one is better than a wrong one by {sigmas:.1f} standard errors, expected above 2",
        "the network is not told the class, its labels are shuffled, or it is hardly trained",
        "look at the class folders of --data and at --label-dropout; then train anew",
        wrong=changed < 1e-4,
        doubtful=sigmas < 2,
    )
