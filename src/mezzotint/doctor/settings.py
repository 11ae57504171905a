"""What a configuration alone tells of a diffusion model."""

from __future__ import annotations

import math
from collections.abc import Iterator

from mezzotint.config.experiment import Experiment
from mezzotint.config.sampling import SampleConfig
from mezzotint.diffusion.level import Level, Schedule
from mezzotint.doctor.finding import SURE, Finding, judge
from mezzotint.trainer.loop import TrainConfig


def look(
    config: Experiment, shape: tuple[int, int, int], classes: int, seen: int
) -> Iterator[Finding]:
    """All that follows, for pictures or latents of a shape (C, H, W), after ``seen`` images."""
    schedule, how = config.noise.build(), config.sample
    ends = schedule_ends(schedule, shape)
    yield ends
    if how.spacing != "optimised":  # its levels are the model's own affair
        grid = schedule.grid(how.steps, how.spacing, how.knots)
        if ends.severity == "well":
            yield sampling_begins(grid[0], schedule, shape, how)
        yield eps_of_noise(grid, config.noise.prediction, how)
    if classes:
        yield label_dropout(config.objective.label_dropout, how)
    yield halflife(config.train, seen)


def signal(level: Level, shape: tuple[int, int, int]) -> float:
    """``alpha sqrt(H W) / sigma``: how far a picture of one bright colour is seen through noise.

    A channel's mean is alpha of the picture's, with a noise of sigma / sqrt(H W): so many of its
    standard deviations is a mean of 1, white, from that of pure noise. What a network is trained
    on then tells it the brightness, and what it starts from when sampling tells it a wrong one:
    grey (Lin et al. 2024, arXiv 2305.08891, whose own case, Stable Diffusion's 0.068 at 64x64,
    comes to 4.4). Above 1 it is to be seen at times, above `SURE` always.
    """
    return level.alpha / level.sigma * math.sqrt(shape[1] * shape[2])


def schedule_ends(schedule: Schedule, shape: tuple[int, int, int]) -> Finding:
    """The signal at the schedule's last row, see `signal`."""
    level = schedule.row(len(schedule))
    shown = signal(level, shape)
    return judge(
        "schedule ends before noise",
        f"alpha is {level.alpha:.3g} in the last row, where a mean colour stands out by "
        f"{shown:.2g} standard deviations; expected less than 1",
        "the network has never seen pure noise, from which sampling begins",
        "train with --zero-terminal-snr and --prediction v, with --schedule cosine, or with "
        "--timesteps 1000",
        wrong=shown > SURE,
        doubtful=shown > 1,
    )


def sampling_begins(
    first: Level, schedule: Schedule, shape: tuple[int, int, int], how: SampleConfig
) -> Finding:
    """The same at the first level that sampling visits, of a schedule that ends in noise."""
    shown = signal(first, shape)
    return judge(
        "sampling begins below noise",
        f"{how.spacing} begins with {how.steps} steps at t = {first.t:g} of {len(schedule) - 1}, "
        f"where a mean colour stands out by {shown:.2g} standard deviations; expected less than 1",
        "the network is given noise where it was trained on what still shows the picture",
        "sample with --spacing trailing",
        wrong=shown > SURE,
        doubtful=shown > 1,
    )


def eps_of_noise(grid: list[Level], prediction: str, how: SampleConfig) -> Finding:
    """What the first step makes of an error of a predicted eps: ``alpha_s sigma_t / alpha_t``.

    That of x0_hat is sigma_t / alpha_t as much, and x_s takes up alpha_s of it. Where the whole
    passes 30, an error of 0.03, which trained networks have there (a loss of 0.001), is as large
    as x itself. Clipping x0_hat bounds it, and other predictions have no such factor.
    """
    t, s = grid[:2]
    grown = s.alpha * t.sigma / t.alpha if t.alpha else float("inf")
    bare = prediction == "eps" and how.clipping == "none"
    return judge(
        "eps asked of pure noise",
        f"the first step multiplies an error of {prediction} by {grown:.3g}; expected less than 30"
        if bare
        else f"prediction {prediction}, clipping {how.clipping}",
        "x0 cannot be told from eps where x is nothing else",
        "train with --prediction v, or sample with --clipping static (pixels) or --spacing logsnr",
        doubtful=bare and grown > 30,
    )


def label_dropout(share: float, how: SampleConfig) -> Finding:
    """Guidance asks the network without a label, which only dropped labels teach it.

    Ho and Salimans 2022 (arXiv 2207.12598) drop 0.1 or 0.2 and find 0.5 too many.
    """
    return judge(
        "guidance without label dropout",
        f"label dropout {share:g}, guidance {how.guidance:g}; expected above 0 where guidance is "
        "not 1",
        "the null class was never trained, and guidance leads away from noise",
        "train with --label-dropout 0.1, or sample with --guidance 1",
        wrong=share == 0 and how.guidance != 1,
    )


def halflife(train: TrainConfig, seen: int) -> Finding:
    """The half-life of the averaged weights, against the images seen.

    The warm-up holds it to a twentieth of those (`trainer.ema.decay`), so that a longer one is
    not wrong; but then another was in force than was asked for.
    """
    return judge(
        "EMA half-life out of reach",
        f"{train.ema_halflife:,.0f} images asked for, {seen:,} seen; expected fewer than those",
        f"the training is short: a half-life of {seen / 20:,.0f} is all that was reached",
        "nothing needs be done; for a longer average train on with --resume --images",
        doubtful=train.ema_halflife > seen,
    )
