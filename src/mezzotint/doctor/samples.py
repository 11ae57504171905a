"""Faults of a model's samples, found by comparing them with the training set.

Images are uint8 (N, C, H, W); features (N, D) come from the feature network of the metrics. A
difference counts only if it is large enough to be seen. It must also exceed `SURE` standard errors,
because samples are few.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mezzotint import evaluation
from mezzotint.config.experiment import Experiment
from mezzotint.data import Prepared, held_out
from mezzotint.data.values import EIGHT_BIT
from mezzotint.doctor.examples import COMPARED, some
from mezzotint.doctor.finding import LARGE, MEDIUM, SURE, Finding, judge
from mezzotint.errors import UserError
from mezzotint.evaluation.against import Against
from mezzotint.evaluation.measuring import ENOUGH
from mezzotint.evaluation.samples import Follow
from mezzotint.metrics.memorised import copied
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.storage import jsonl

CALLS = 25  # denoiser calls per image; settings that need more are replaced by DDIM
SEEN = 6.0
"""The least noticeable difference in grey levels: 2.3 of CIELAB's 100 (Mahy et al. 1994, Color
Research and Application 19)."""
CHANCE = 2 / 3
"""The largest possible share of random points that are nearest neighbours of each other.

The share is 2/3 along a line and less in more dimensions, whatever the density (Cox 1981,
Biometrics 37)."""


def look(
    pipe: Pipeline, config: Experiment, data: Prepared, count: int, follow: Follow
) -> Iterator[Finding]:
    """Make ``count`` samples, and yield the findings of all checks of samples that apply."""
    if len(data) < 2:  # a single image has neither a deviation nor neighbours
        return
    few: dict[str, Any] = {}
    if pipe.defaults.calls > CALLS:
        steps = min(CALLS, len(pipe.schedule))
        few = {"sampler": "ddim", "steps": steps, "spacing": "trailing"}
    given = pipe.labels(count)
    if given is not None and pipe.classes and not pipe.examples:
        like = np.sort(data.labels)[np.arange(count) * len(data) // count]
        counts = [np.bincount(labels, minlength=len(pipe.classes)) for labels in (given, like)]
        # If the classes are many or uneven, samples of all in turn would differ from the data.
        if len(pipe.classes) > count or np.ptp(counts[0] - counts[1]) > 2:
            given = few["labels"] = like.tolist()
    made = pipe.sample(count, on_step=lambda done, calls: follow("samples", done, calls), **few)
    real, real_labels = some(data, COMPARED)
    made, real = (data.values.in_eight_bits(images) for images in (made, real))
    yield colour_drift(made, real)
    if made.shape[1] == 3:
        yield grey(made, real)
    yield saturated(made, real)
    yield noisy(made, real)
    if made.shape[1] not in (1, 3):  # the networks of the metrics cannot use them
        return

    against = Against(f"{config.data.data} (split train)", data)
    measure = evaluation.measure(against.network, against, pipe.size, pipe.device)
    ours, theirs = (measure.network(EIGHT_BIT.rgb(images)) for images in (made, real))
    labels = None if given is None else torch.tensor(given)
    yield alike(ours.pool, theirs.pool, labels, real_labels)
    try:
        others = held_out(data)
    except UserError:  # the held-out images have other channels or values
        others = data
    unseen = (
        None
        if others is data
        else measure.network(others.values.rgb(some(others, COMPARED)[0])).pool
    )
    yield memorised(ours.pool, measure.reference.pool, unseen)
    if labels is not None and pipe.classes == measure.network.classes:
        yield recognised(ours.logits, labels, theirs.logits, real_labels)


def colour_drift(made: Tensor, data: Tensor) -> Finding:
    """Return a finding on the mean of each channel in samples and training images, by Cohen's d."""
    pairs = zip(torch.split(made, 1, 1), torch.split(data, 1, 1), strict=True)
    d = [_effect(a, b, lambda x: x.mean((1, 2, 3))) for a, b in pairs]
    worst = max(d, key=abs)
    means = " ".join(f"{v:.0f}" for v in made.float().mean((0, 2, 3)))
    wanted = " ".join(f"{v:.0f}" for v in data.float().mean((0, 2, 3)))
    return judge(
        "colour drift",
        f"the channel means are {means} in samples and {wanted} in the data, {worst:+.2f} standard "
        f"deviations of an image's mean apart; expected at most {MEDIUM}",
        "the schedule does not end in noise, there are too few steps or too much guidance, or the "
        "training was too short",
        'sample with `spacing="trailing"`, more `steps` or less `guidance`; if that does not help, '
        "train longer",
        wrong=abs(worst) >= LARGE,
        doubtful=abs(worst) >= MEDIUM,
    )


def grey(made: Tensor, data: Tensor) -> Finding:
    """Return a finding on the colourfulness and contrast of samples and data, by Cohen's d.

    The colourfulness of an image is the standard deviation over the channels of a pixel, averaged
    over the pixels. Its contrast is the standard deviation, over the pixels, of the mean of the
    channels.
    """
    chroma = _effect(made, data, lambda x: x.std(1).mean((1, 2)))
    contrast = _effect(made, data, lambda x: x.mean(1).flatten(1).std(1))
    least = min(chroma, contrast)
    return judge(
        "grey samples",
        f"samples are {chroma:+.2f} standard deviations from the data in colourfulness and "
        f"{contrast:+.2f} in contrast; expected above {-MEDIUM}",
        "samples are means over many images: the training was too short, there are too few steps, "
        "or the schedule does not end in noise",
        "train longer, sample with more `steps`, or change the schedule",
        wrong=least <= -LARGE,
        doubtful=least <= -MEDIUM,
    )


def saturated(made: Tensor, data: Tensor) -> Finding:
    """Return a finding on the shares of values at 0 or 255 in samples and data, by Cohen's h.

    For shares p and q, h is ``2 asin sqrt(p) - 2 asin sqrt(q)``. It is 0.5 for 6 % and 0 %, and for
    30 % and 10 %.
    """
    shares = [((x == 0) | (x == 255)).float().flatten(1).mean(1) for x in (made, data)]
    p, q = (float(share.mean()) for share in shares)
    h = _angle(p, q) if p - q > SURE * _error(*shares) else 0.0
    return judge(
        "saturated samples",
        f"{p:.1%} of the values are 0 or 255 in samples, {q:.1%} in the data: Cohen's h is "
        f"{h:.2f}; expected below {MEDIUM}",
        "there is too much guidance, or x0 is clipped because it is far out of range",
        'sample with less `guidance`, with `rescale=0.7` or with `clipping="dynamic"`',
        wrong=h >= LARGE,
        doubtful=h >= MEDIUM,
    )


def noisy(made: Tensor, data: Tensor) -> Finding:
    """Return a finding on how much neighbouring pixels differ in samples and data, by Cohen's d."""
    d = _effect(made, data, _roughness)
    ours, theirs = (float(_roughness(x.float()).mean()) for x in (made, data))
    return judge(
        "noisy samples",
        f"neighbouring pixels differ by {ours:.1f} grey levels in samples and by {theirs:.1f} in "
        f"the data, {d:+.2f} standard deviations; expected below {MEDIUM}",
        "the samples still contain noise: the training was too short, or there are too few steps",
        "train longer, or sample with more `steps`",
        wrong=d >= LARGE,
        doubtful=d >= MEDIUM,
    )


def alike(made: Tensor, data: Tensor, labels: Tensor | None, data_labels: Tensor | None) -> Finding:
    """Return a finding on whether samples of a class are about as far apart as training images.

    The distances are between the features of two samples, or of two training images, of the same
    class. If the ratio of the mean distances is 0.5, samples have a quarter of the data's variance
    within a class; if the ratio is 0.71, samples have half of the data's variance. Odena et al.
    2017 (arXiv 1610.09585) detect collapsed classes in this way, with SSIM. Without classes, or
    with too few samples of each class, all samples count as one class.
    """
    if labels is None or data_labels is None or _pairs(labels).sum() < 100:
        labels, data_labels = torch.zeros(len(made)), torch.zeros(len(data))
    ours, theirs = _spread(made, labels), _spread(data, data_labels)
    ratio = ours / theirs if theirs else 1.0
    return judge(
        "samples all alike",
        f"two samples of a class are {ours:.3g} apart in features, two images of the data "
        f"{theirs:.3g}: the ratio is {ratio:.2f}; expected above 0.71",
        "there is too much guidance, the network ignores the noise, or it has learned a few images "
        "by heart",
        "sample with less `guidance` or an `interval`; train with more data or `dropout`",
        wrong=ratio < 0.5,
        doubtful=ratio < 0.5**0.5,
    )


def memorised(made: Tensor, training: Tensor, held_out: Tensor | None) -> Finding:
    """Return a finding on the share of samples that copy a training image.

    A sample is a copy if its distance to a training image is smaller than the distance between this
    training image and any other (see `copied`). Cohen's h (see `saturated`) compares the share with
    the share of copies among held-out images, or with `CHANCE` if no images are held out. The
    arguments are features (N, D).
    """
    ours = copied(made, training).float()
    theirs = torch.tensor([CHANCE]) if held_out is None else copied(held_out, training).float()
    p, q = float(ours.mean()), float(theirs.mean())
    error = (p * (1 - p) / len(ours) + (q * (1 - q) / len(theirs) if len(theirs) > 1 else 0)) ** 0.5
    h = _angle(p, q) if p - q > SURE * error else 0.0
    others = f"at most {q:.0%} by chance" if held_out is None else f"{q:.0%} of held-out images"
    return judge(
        "memorisation",
        f"{p:.0%} of the samples are nearer to a training image than any other training image "
        f"is, {others}: Cohen's h is {h:.2f}; expected below {MEDIUM}",
        "there is too little data for this size of network and length of training",
        "train with more data, `dropout=0.1` or `non_leaking=0.12`, or use an earlier checkpoint",
        wrong=h >= LARGE,
        doubtful=h >= MEDIUM,
    )


def recognised(logits: Tensor, labels: Tensor, data_logits: Tensor, data_labels: Tensor) -> Finding:
    """Return a finding on whether the package's classifier recognises the classes of samples.

    The accuracy must be better than chance. By chance the accuracy is 1/K for K classes. An
    accuracy above 1/K by at most `SURE` binomial standard errors counts as chance. A finding that
    is not wrong is doubtful if the classifier recognises at most half of the training images. The
    finding also gives the classifier's certainty, which is the mean of its greatest probability. If
    samples are not recognised, a high certainty means that they show other classes, and a low
    certainty means that they show no class.
    """
    k = logits.shape[1]
    right, real = (
        (x.argmax(1) == y).float().mean() for x, y in ((logits, labels), (data_logits, data_labels))
    )
    sure = float(logits.softmax(1).max(1).values.mean())
    bound = 1 / k + SURE * ((1 - 1 / k) / k / len(labels)) ** 0.5
    data_too = float(real) <= 0.5
    return judge(
        "labels shuffled",
        f"the classifier recognises the class of {right:.0%} of the samples, expected above "
        f"{bound:.0%}; it recognises {real:.0%} of the data, and {1 / k:.0%} by chance; its "
        f"certainty on samples is {sure:.0%}",
        "the labels of the data are shuffled"
        if data_too
        else "labels were shuffled in training, or the network ignores them or draws nothing yet",
        "check the data's classes and train again; if `labels ignored` is not found, train longer",
        wrong=float(right) <= bound,
        doubtful=data_too,
    )


def too_few(figures: Path) -> Finding | None:
    """Return a finding on whether a Frechet distance was measured on enough samples.

    ``figures`` is the run's figures.jsonl. The result is None if the file has no Frechet distance.
    Inception has 2,048 features, so the covariance of at most 2,048 samples is singular. The bias
    of the distance is proportional to 1/N for N samples. With so few samples the bias is as large
    as the distance itself (Chong and Forsyth 2020, arXiv 1911.07023).
    """
    counts = []
    for row in jsonl.read(figures):
        with contextlib.suppress(KeyError, TypeError, AttributeError):  # a row of another program
            found = row["figures"]
            counts += [f["samples"] for f in found if f["name"].startswith(("fd", "fid"))]
    if not counts:
        return None
    most = max(counts)
    return judge(
        "too few samples",
        f"Frechet distances were measured on at most {most:,} samples; expected {ENOUGH:,} or more",
        "with few samples the distance is too high, by an amount that depends on their number",
        "evaluate the model again with `samples=10000`",
        doubtful=most < ENOUGH,
    )


def _effect(made: Tensor, data: Tensor, of: Callable[[Tensor], Tensor]) -> float:
    """Return Cohen's d between samples and data, in standard deviations of the data.

    ``of`` computes the number to compare for each image. The result is 0 unless the means differ by
    more than `SURE` standard errors and by more than `SEEN` grey levels.
    """
    a, b = of(made.float()), of(data.float())
    apart = float(a.mean() - b.mean())
    return apart / float(b.std() + 1e-6) if abs(apart) > max(SURE * _error(a, b), SEEN) else 0.0


def _roughness(images: Tensor) -> Tensor:
    """Return the mean difference between neighbouring pixels of each image (N, C, H, W)."""
    across, down = (images.diff(dim=axis).abs().flatten(1).mean(1) for axis in (3, 2))
    return (across + down) / 2


def _error(a: Tensor, b: Tensor) -> float:
    """Return the standard error of the difference of two means."""
    return float((a.var() / len(a) + b.var() / len(b)) ** 0.5)


def _angle(p: float, q: float) -> float:
    return 2 * math.asin(p**0.5) - 2 * math.asin(q**0.5)


def _pairs(labels: Tensor) -> Tensor:
    """Return a mask (N, N) of the pairs of different images with the same class."""
    same = labels[:, None] == labels
    return same.fill_diagonal_(False)


def _spread(features: Tensor, labels: Tensor) -> float:
    """Return the mean distance between rows of ``features`` (N, D) that have the same label."""
    return float(torch.cdist(features.double(), features.double())[_pairs(labels)].mean())
