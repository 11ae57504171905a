"""What a model's pictures tell, beside those that it was trained on.

Pictures are uint8 (N, 3, H, W), features (N, D) those of the metrics' network. A difference counts
where it is beyond `SURE` standard errors, since few pictures are made, and of a size that shows.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from mezzotint.doctor.finding import LARGE, MEDIUM, SURE, Finding, judge
from mezzotint.evaluation.measuring import ENOUGH
from mezzotint.metrics.neighbours import copied
from mezzotint.storage import jsonl

SEEN = 6.0
"""Grey levels that are just noticeable: 2.3 of CIELAB's 100 (Mahy et al. 1994, Color Research and
Application 19)."""
CHANCE = 2 / 3
"""The most that neighbours are each other's nearest by chance: 2/3 along a line, less in more
dimensions, whatever the density (Cox 1981, Biometrics 37)."""


def colour_drift(made: Tensor, data: Tensor) -> Finding:
    """The mean of each channel in a picture, as Cohen's d of made pictures from the data's."""
    pairs = zip(torch.split(made, 1, 1), torch.split(data, 1, 1), strict=True)
    d = [_effect(a, b, lambda x: x.mean((1, 2, 3))) for a, b in pairs]
    worst = max(d, key=abs)
    means = " ".join(f"{v:.0f}" for v in made.float().mean((0, 2, 3)))
    wanted = " ".join(f"{v:.0f}" for v in data.float().mean((0, 2, 3)))
    return judge(
        "colour drift",
        f"channel means {means}, of the data {wanted}: {worst:+.2f} standard deviations of a "
        f"picture's mean; expected within {MEDIUM}",
        "a schedule that does not end in noise, too few steps, too much guidance, or too short a "
        "training",
        "sample with --spacing trailing, more --steps or less --guidance; else train on",
        wrong=abs(worst) >= LARGE,
        doubtful=abs(worst) >= MEDIUM,
    )


def grey(made: Tensor, data: Tensor) -> Finding:
    """The colourfulness and the contrast of a picture, as Cohen's d: too little of either.

    Colourfulness is the standard deviation over a pixel's channels, contrast that of the channels'
    mean over the pixels.
    """
    chroma = _effect(made, data, lambda x: x.std(1).mean((1, 2)))
    contrast = _effect(made, data, lambda x: x.mean(1).flatten(1).std(1))
    least = min(chroma, contrast)
    return judge(
        "grey pictures",
        f"colourfulness {chroma:+.2f} and contrast {contrast:+.2f} standard deviations from the "
        f"data's; expected above {-MEDIUM}",
        "the estimate of x0 is a mean over many pictures: hardly trained, too few steps, or a "
        "signal at the schedule's end",
        "train on, sample with more --steps, or see to the schedule",
        wrong=least <= -LARGE,
        doubtful=least <= -MEDIUM,
    )


def saturated(made: Tensor, data: Tensor) -> Finding:
    """The share of values at 0 or 255, as the angle h between it and the data's.

    h is ``2 asin sqrt(p) - 2 asin sqrt(q)``: 0.5 of 0 and 6 %, or of 10 % and 30 %.
    """
    shares = [((x == 0) | (x == 255)).float().flatten(1).mean(1) for x in (made, data)]
    p, q = (float(share.mean()) for share in shares)
    h = _angle(p, q) if p - q > SURE * _error(*shares) else 0.0
    return judge(
        "saturated pictures",
        f"{p:.1%} of the values are 0 or 255, of the data's {q:.1%}; expected a difference of h "
        f"below {MEDIUM}, not {h:.2f}",
        "too much guidance, or x0 that is cut off because it is far out of range",
        "sample with less --guidance, with --rescale 0.7 or --clipping dynamic",
        wrong=h >= LARGE,
        doubtful=h >= MEDIUM,
    )


def alike(made: Tensor, data: Tensor, labels: Tensor | None, told: Tensor | None) -> Finding:
    """The mean distance between two made pictures of a class in features, over that of the data's.

    ``labels`` and ``told`` are the made pictures' and the data's. Half the distance is a quarter of
    the variance, most of what a class's pictures differ by is gone; 0.71 is half of it. As Odena et
    al. 2017 (arXiv 1610.09585) look for collapsed classes, there by SSIM. Where classes have too
    few pictures, and where there are none, all pictures count as of one.
    """
    if labels is None or told is None or _pairs(labels).sum() < 100:
        labels, told = torch.zeros(len(made)), torch.zeros(len(data))
    ours, theirs = _spread(made, labels), _spread(data, told)
    ratio = ours / theirs if theirs else 1.0
    return judge(
        "pictures all alike",
        f"two of a class are {ours:.3g} apart in features, of the data {theirs:.3g}; expected a "
        f"ratio above 0.71, not {ratio:.2f}",
        "too much guidance, a network that ignores the noise, or a mode that was learned by heart",
        "sample with less --guidance or an --interval; train with more data or --dropout",
        wrong=ratio < 0.5,
        doubtful=ratio < 0.5**0.5,
    )


def memorised(made: Tensor, training: Tensor, held_out: Tensor | None) -> Finding:
    """The share of pictures nearer to a training picture than its own neighbour is.

    Beside that of held-out pictures, or where there are none `CHANCE`: as the angle h, see
    `saturated`.
    """
    ours = copied(made, training).float()
    theirs = torch.tensor([CHANCE]) if held_out is None else copied(held_out, training).float()
    p, q = float(ours.mean()), float(theirs.mean())
    error = (p * (1 - p) / len(ours) + (q * (1 - q) / len(theirs) if len(theirs) > 1 else 0)) ** 0.5
    h = _angle(p, q) if p - q > SURE * error else 0.0
    of = "of chance at most" if held_out is None else "of held-out pictures"
    return judge(
        "memorisation",
        f"{p:.0%} are nearer to a training picture than its own neighbour is, {of} {q:.0%}; "
        f"expected a difference of h below {MEDIUM}, not {h:.2f}",
        "too little data for so large a network and so long a training",
        "give more data, --dropout 0.1 or --non-leaking 0.12, or take an earlier checkpoint",
        wrong=h >= LARGE,
        doubtful=h >= MEDIUM,
    )


def recognised(logits: Tensor, labels: Tensor, data_logits: Tensor, told: Tensor) -> Finding:
    """The share that the package's classifier takes for the class asked for, against chance, 1/K.

    Chance is up to `SURE` standard errors of a binomial above 1/K. How sure the classifier is, the
    mean of the greatest probability, tells pictures of other classes from those of none.
    """
    k = logits.shape[1]
    right, real = (
        (x.argmax(1) == y).float().mean() for x, y in ((logits, labels), (data_logits, told))
    )
    sure = float(logits.softmax(1).max(1).values.mean())
    bound = 1 / k + SURE * ((1 - 1 / k) / k / len(labels)) ** 0.5
    data_too = float(real) <= 0.5
    return judge(
        "label shuffle",
        f"{right:.0%} of the pictures are of the class asked for, {real:.0%} of the data's of "
        f"theirs, chance {1 / k:.0%}; expected above {bound:.0%}; the classifier "
        f"is {sure:.0%} sure",
        "the labels of the data are shuffled"
        if data_too
        else "the labels were shuffled in training, the network ignores them, or draws nothing yet",
        "look at the data's classes and train anew; where 'labels ignored' is not found, train on",
        wrong=float(right) <= bound,
        doubtful=data_too,
    )


def too_few(figures: Path) -> Finding | None:
    """The most pictures that a Frechet distance of the run was measured by, of figures.jsonl.

    With fewer than Inception's 2,048 features and one the covariance is singular, and the bias, of
    1/N, is of the size of what is measured (Chong and Forsyth 2020, arXiv 1911.07023).
    """
    if not figures.exists():
        return None
    counts = []
    for row in jsonl.read(figures):
        with contextlib.suppress(KeyError, TypeError, AttributeError):  # of another program's rows
            found = row["figures"]
            counts += [f["samples"] for f in found if f["name"].startswith(("fd", "fid"))]
    most = max(counts, default=ENOUGH)
    return judge(
        "too few samples",
        f"the Frechet distances are of {most:,} pictures at most; expected {ENOUGH:,} or more",
        "the distance of few pictures is too high, and differs from that of other counts",
        "mezzotint evaluate with --samples 10k",
        doubtful=most < ENOUGH,
    )


def _effect(made: Tensor, data: Tensor, of: Callable[[Tensor], Tensor]) -> float:
    """Cohen's d of a number a picture, in the data's deviations; 0 where not `SURE` and `SEEN`."""
    a, b = of(made.float()), of(data.float())
    apart = float(a.mean() - b.mean())
    return apart / float(b.std() + 1e-6) if abs(apart) > max(SURE * _error(a, b), SEEN) else 0.0


def _error(a: Tensor, b: Tensor) -> float:
    """The standard error of a difference of means."""
    return float((a.var() / len(a) + b.var() / len(b)) ** 0.5)


def _angle(p: float, q: float) -> float:
    return 2 * math.asin(p**0.5) - 2 * math.asin(q**0.5)


def _pairs(labels: Tensor) -> Tensor:
    """Which two different rows are of one class, (N, N)."""
    same = labels[:, None] == labels
    return same.fill_diagonal_(False)


def _spread(features: Tensor, labels: Tensor) -> float:
    """The mean distance between two of a class."""
    return float(torch.cdist(features.double(), features.double())[_pairs(labels)].mean())
