"""Faults of a diffusion model that its configuration alone reveals."""

from __future__ import annotations

from collections.abc import Iterator

from mezzotint.config.experiment import Experiment
from mezzotint.config.sampling import SampleConfig
from mezzotint.diffusion.level import VISIBLE, Level, Schedule, signal
from mezzotint.doctor.finding import Finding, judge
from mezzotint.trainer.loop import TrainConfig
from mezzotint.trainer.objective import ObjectiveConfig


def look(
    config: Experiment, shape: tuple[int, int, int], classes: int, seen: int
) -> Iterator[Finding]:
    """Yield the findings of all checks of the configuration that apply.

    Args:
        config: The configuration, whose ``sample`` holds the sampling settings in use.
        shape: The shape (C, H, W) of the network's input, images or latents.
        classes: The number of the network's classes.
        seen: The number of images that the training has seen.
    """
    schedule, how = config.noise.build(), config.sample
    ends = schedule_ends(schedule, shape)
    yield ends
    if how.spacing != "optimised":  # the levels of that spacing depend on the model
        grid = schedule.grid(how.steps, how.spacing, how.knots)
        if ends.severity == "well":
            yield sampling_begins(grid[0], schedule, shape, how)
        yield eps_of_noise(grid, config.noise.prediction, how)
    if classes and isinstance(config.objective, ObjectiveConfig):
        yield label_dropout(config.objective.label_dropout, how)
    yield halflife(config.train, seen)


def schedule_ends(schedule: Schedule, shape: tuple[int, int, int]) -> Finding:
    """Return a finding on whether the last timestep still shows the image; see `signal`."""
    level = schedule.row(len(schedule))
    shown = signal(level, shape)
    return judge(
        "schedule does not end in noise",
        f"alpha is {level.alpha:.3g} at the last timestep, where a white image is {shown:.2g} "
        "standard deviations from pure noise; expected less than 1",
        "the network has never seen pure noise, from which sampling starts",
        'train with `zero_terminal_snr=True` and `prediction="v"`, with `schedule="cosine"`, or '
        "with more `timesteps`",
        wrong=shown > VISIBLE,
        doubtful=shown > 1,
    )


def sampling_begins(
    first: Level, schedule: Schedule, shape: tuple[int, int, int], how: SampleConfig
) -> Finding:
    """Return a finding on how much `signal` is left at the level from which sampling starts."""
    shown = signal(first, shape)
    return judge(
        "sampling does not start from noise",
        f"the spacing {how.spacing} with {how.steps} steps starts at t = {first.t:g} of "
        f"{len(schedule) - 1}, where a white image is {shown:.2g} standard deviations from pure "
        "noise; expected less than 1",
        "the network gets pure noise at a level where it was trained on noise with some signal",
        'sample with `spacing="trailing"`',
        wrong=shown > VISIBLE,
        doubtful=shown > 1,
    )


def eps_of_noise(grid: list[Level], prediction: str, how: SampleConfig) -> Finding:
    """Return a finding on how much the first step amplifies an error of eps.

    The first step goes from level t to level s; the factor is ``alpha_s sigma_t / alpha_t``. The
    error of x0_hat is sigma_t / alpha_t times the error of eps, and x_s contains alpha_s times that
    error. If the factor is above 30, the usual error of eps in trained networks at level t, 0.03
    (a loss of 0.001), becomes as large as x itself. Predictions other than eps do not amplify it.

    Clipping x0_hat bounds the error, but does not remove it: the brightness of the samples still
    varies too much.
    """
    t, s = grid[:2]
    grown = s.alpha * t.sigma / t.alpha if t.alpha else float("inf")
    other = 'a `spacing` such as "logsnr" makes the fault smaller'
    if how.clipping == "none":
        other = f'`clipping="static"` (for pixels) or {other}'
    return judge(
        "eps predicted from pure noise",
        f"the first step multiplies an error of {prediction} by {grown:.3g}; expected less than 30"
        if prediction == "eps"
        else f"the prediction is {prediction}",
        "where x is pure noise, eps does not determine x0",
        f'train with `prediction="v"`; without a new training, {other}',
        doubtful=prediction == "eps" and grown > 30,
    )


def label_dropout(share: float, how: SampleConfig) -> Finding:
    """Return a finding on whether labels were dropped in training, if samples are guided.

    Guidance also calls the network without a label. The network learns this only from training
    images whose label was dropped. Ho and Salimans 2022 (arXiv 2207.12598) drop a share of 0.1 or
    0.2 of the labels, and find that 0.5 is too much. CFG++ guides at the scale 1 too.
    """
    cfgpp = how.guidance_shape == "cfg++"
    plain = "`guidance=1`" + ' and `guidance_shape="constant"`' * cfgpp
    return judge(
        "guidance without label dropout",
        f"label dropout is {share:g} and guidance {how.guidance:g}{' of cfg++' * cfgpp}; expected "
        "label dropout above 0 if samples are guided",
        "the null class was never trained, so guidance leads to no better samples",
        f"train with `label_dropout=0.1`, or sample with {plain}",
        wrong=share == 0 and (how.guidance != 1 or cfgpp),
    )


def halflife(train: TrainConfig, seen: int) -> Finding:
    """Return a finding that compares the half-life of the averaged weights with the images seen.

    The average's own warm-up limits the half-life to a twentieth of the images seen
    (`trainer.ema.decay`). A longer half-life in the configuration is not wrong, but it has had no
    effect yet.
    """
    return judge(
        "EMA half-life longer than training",
        f"the half-life is {train.ema_halflife:,.0f} images, and the run has seen {seen:,}; "
        "expected a shorter half-life",
        f"the training is short, so the effective half-life is {seen / 20:,.0f} images",
        "nothing, if this is intended; for a longer average, continue with `resume=True` and more "
        "`images`",
        doubtful=train.ema_halflife > seen,
    )
