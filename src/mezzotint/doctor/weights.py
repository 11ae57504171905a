"""Faults of a run's weights: damaged, not finite, badly averaged, or no better than guessing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from mezzotint.config.experiment import Experiment
from mezzotint.data import Prepared
from mezzotint.diffusion.level import Level, Schedule
from mezzotint.doctor.examples import DENOISED, some
from mezzotint.doctor.finding import SURE, Finding, judge
from mezzotint.errors import Damaged, UserError
from mezzotint.interop.folder import unmatched
from mezzotint.pipeline import codecs
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.storage import checkpoint

SIGMAS = [math.exp(-1.2 + 1.2 * k) for k in (-1, 0, 1)]
"""Values of sigma / alpha, 0.09, 0.3 and 1, at which there is something to learn. They are the
middle of EDM's training distribution, ln sigma ~ N(-1.2, 1.2^2) (Karras et al. 2022, arXiv
2206.00364, table 1)."""

Weights: TypeAlias = Mapping[str, Tensor]


def look(
    pipe: Pipeline, config: Experiment, data: Prepared, ema: Weights, raw: Weights
) -> Iterator[Finding]:
    """Yield the findings of the checks that apply to the model and denoise training images.

    ``ema`` are the averaged weights, and ``raw`` the weights that the optimizer changes.
    """
    images, labels = some(data, DENOISED)
    x0 = pipe.codec.encode(images.to(pipe.device))
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0)).to(x0)
    given = labels if pipe.classes else None
    net = deepcopy(pipe.net)
    net.load_state_dict(dict(raw))
    plain = errors(replace(pipe, net=net), x0, eps, given)
    yield informed(plain)
    if pipe.few_step:  # a student starts from its teacher's weights, and has no null class
        return
    with torch.random.fork_rng():
        torch.manual_seed(config.train.seed)
        first = config.network(pipe.shape[0], len(pipe.classes), pipe.conditions)
    averaged = errors(pipe, x0, eps, given)
    yield lagging(distance(ema, raw, first.state_dict()), averaged.mean(0), plain.mean(0))
    if given is not None and len(pipe.classes) > 1:
        yield labels_matter(pipe, x0, eps, given)


@dataclass(frozen=True)
class Saved:
    """The content of a checkpoint: facts about the training, averaged weights and raw weights."""

    facts: dict[str, Any]
    ema: Weights
    raw: Weights


def read(found: Path) -> Saved:
    """Read a checkpoint; raise Damaged if its raw and averaged weights do not match."""
    facts = codecs.facts(found, "step", "shape", "classes", "data")
    ema, raw = (checkpoint.tensors(found, name, finite=False) for name in ("ema", "net"))
    if wrong := unmatched(raw, ema):
        raise Damaged(f"{found} is damaged: net.safetensors has {wrong}")
    return Saved(facts, ema, raw)


def checkpoints(folder: Path) -> Finding:
    """Return a finding on whether every checkpoint can be read and matches its manifest."""
    held = checkpoint.listed(folder) + [p for p in [folder / "best"] if p.exists()]
    damaged = []
    for path in held:
        try:
            checkpoint.verify(path)
            if path.name != "best":
                read(path)
        except UserError as error:
            damaged.append((path, str(error)))
    return judge(
        "damaged checkpoint",
        f"{len(damaged)} of {len(held)} checkpoints are damaged"
        + "".join(f"; {problem}" for _, problem in damaged[:1]),
        "the disk is failing, a copy was cut short, or a file was changed by hand",
        f"restore {damaged[0][0]} from a copy, or remove it and continue with `resume=True`"
        if damaged
        else "",
        wrong=bool(damaged),
    )


def finite(weights: Mapping[str, Weights]) -> Finding:
    """Return a finding on whether every number in each named set of weights is finite."""
    bad = [
        f"{name}.{key}"
        for name, tensors in weights.items()
        for key, tensor in tensors.items()
        if not tensor.isfinite().all()
    ]
    return judge(
        "weights not finite",
        f"{len(bad)} tensors hold numbers that are not "
        f"finite{', such as ' + bad[0] if bad else ''}; "
        "expected 0",
        "training continued after a loss of NaN, or a file was converted to too narrow a type",
        "use an earlier checkpoint, or train again with a lower `lr`",
        wrong=bool(bad),
    )


def levels(schedule: Schedule) -> list[Level]:
    """Return the levels of a schedule where sigma / alpha is one of `SIGMAS`."""
    return [schedule.at(-math.log(sigma)) for sigma in SIGMAS]


@torch.inference_mode()
def denoised(
    pipe: Pipeline, x0: Tensor, eps: Tensor, level: Level, labels: Tensor | None
) -> Tensor:
    """Add noise ``eps`` to ``x0`` (B, C, H, W) at a level, and return the network's x0_hat.

    The network is called on batches of 64.
    """
    parts = []
    for i in range(0, len(x0), 64):
        part = slice(i, i + 64)
        denoise = pipe.denoiser(None if labels is None else labels[part], clipping="none")
        parts.append(denoise(level.alpha * x0[part] + level.sigma * eps[part], level))
    return torch.cat(parts)


def errors(pipe: Pipeline, x0: Tensor, eps: Tensor, labels: Tensor | None) -> Tensor:
    """Return ``|x0_hat - x0|^2 / trivial`` of each image at each of `levels`: (levels, B).

    ``trivial`` is the squared error of the better of two guesses: the mean of x0, whose squared
    error is the variance of x0, and x / alpha, whose squared error is sigma^2 / alpha^2. So the
    result is 1 for a network that does no better than a guess.
    """
    variance = float((x0 - x0.mean((0, 2, 3), keepdim=True)).square().mean())
    found = []
    for level in levels(pipe.schedule):
        wrong = (denoised(pipe, x0, eps, level, labels) - x0).square().flatten(1).mean(1)
        found.append(wrong / min(variance, (level.sigma / level.alpha) ** 2))
    return torch.stack(found)


def informed(found: Tensor) -> Finding:
    """Return a finding on the mean error at each level.

    ``found`` is the result of `errors`, in which 1 is the error of a simple guess. So an error of 1
    or more at a level means that the network has learned nothing there.
    """
    means = found.mean(1).tolist()
    each = ", ".join(f"{m:.2g} at {s:.2g}" for m, s in zip(means, SIGMAS, strict=True))
    return judge(
        "network no better than a guess",
        "the network's error, divided by the error of a guess (the data's mean or the noisy "
        f"image), is {each} (values of sigma / alpha); expected below 1",
        "the network has hardly been trained, training diverged, or it was trained on another "
        "schedule or prediction",
        "continue with `resume=True`, or train again with a lower `lr`",
        wrong=min(means) >= 1,
        doubtful=max(means) >= 1,
    )


def lagging(apart: float, averaged: Tensor, raw: Tensor) -> Finding:
    """Return a finding that compares the averaged weights with the raw weights.

    The raw weights are the weights that the optimizer changes. ``apart`` is ``|ema - raw| / |raw -
    initial|``, which is 1 if the average still equals the initial weights. The longest half-life of
    `trainer.ema` is a twentieth of the images seen. The mean age of the averaged weights is then
    about 0.07 of the images seen, and ``apart`` is 0.07 if weights move on a straight line, and
    ``sqrt(0.07 / 2)`` = 0.19 if they move at random. A healthy run cannot reach 0.5.

    ``averaged`` and ``raw`` (B,) are the errors of the two networks on the same images, relative to
    the error of a network that has learned nothing (see `errors`). So the raw weights have learned
    ``1 - r``, and averaging has lost the share ``(a - r) / (1 - r)``, where a and r are the means
    of ``averaged`` and ``raw``. If ``a - r`` exceeds `SURE` standard errors, the severity is
    "wrong" for a share above 1/2, and "doubtful" for a share above 1/10. A value of ``apart`` above
    0.5 is "doubtful" too.
    """
    worse = averaged - raw
    learned = float(1 - raw.mean())
    lost = float(worse.mean()) / learned if learned > 0 else 0.0
    sure = float(worse.mean()) > SURE * float(worse.std()) / len(worse) ** 0.5
    return judge(
        "EMA lagging",
        f"the average is {apart:.2f} of the way from the raw weights to the initial weights, "
        f"expected at most 0.2; it has lost {lost:.0%} of what the raw weights have learned, "
        "expected less than 10%",
        "the average still contains early weights: its half-life is too long, or the checkpoint "
        "was put together by hand",
        "continue with `resume=True`, or train again with a shorter `ema_halflife`",
        wrong=lost > 0.5 and sure,
        doubtful=apart > 0.5 or (lost > 0.1 and sure),
    )


def distance(
    averaged: Mapping[str, Tensor], raw: Mapping[str, Tensor], initial: Mapping[str, Tensor]
) -> float:
    """Return ``|ema - raw| / |raw - initial|`` over all weights; 0 if no weight has changed."""

    def norm(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
        return math.sqrt(sum(float((a[key] - b[key]).square().sum()) for key in raw))

    moved = norm(raw, initial)
    return norm(averaged, raw) / moved if moved else 0.0


def labels_matter(pipe: Pipeline, x0: Tensor, eps: Tensor, labels: Tensor) -> Finding:
    """Return a finding on how much the label changes x0_hat at sigma / alpha = 1.

    This level is in the middle of the range 0.3 to 3, where guidance helps (Kynkaanniemi et al.
    2024, arXiv 2404.07724). If the estimates with and without the label differ by less than 1e-4
    times the error of the estimate with the label, the difference is rounding, and the network does
    not use the label. The right label should be better than a wrong label by at least 2 standard
    errors, on the same images and noise. Otherwise the labels may not describe the images.
    """
    level, others = levels(pipe.schedule)[-1], (labels + 1) % len(pipe.classes)
    given = denoised(pipe, x0, eps, level, labels)
    other = denoised(pipe, x0, eps, level, others)
    without = denoised(pipe, x0, eps, level, None)
    wrong = (given - x0).square().flatten(1).mean(1)
    gain = (other - x0).square().flatten(1).mean(1) - wrong
    changed = float(((given - without).square().mean() / wrong.mean()).sqrt())
    sigmas = float(gain.mean() / (gain.std() / len(gain) ** 0.5).clamp(min=1e-12))
    return judge(
        "labels ignored",
        f"the label changes the output by {changed:.2g} times the output's error, expected above "
        f"1e-4; the right label is better than a wrong label by {sigmas:.1f} standard errors, "
        "expected above 2",
        "the network does not use labels, it has hardly been trained, or the labels are shuffled",
        "check the class folders of `data`, and `label_dropout`; then train again",
        wrong=changed < 1e-4,
        doubtful=sigmas < 2,
    )
