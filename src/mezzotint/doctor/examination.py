"""The doctor's examination of a run, from its files to the samples of its model.

The checks of each kind have a module of their own, whose function ``look`` runs most of them. A new
check is a function, a line in ``look``, and a title in `finding.Title`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from mezzotint import config as configuration
from mezzotint.config.experiment import Experiment
from mezzotint.data import Prepared
from mezzotint.data.prepared import in_order, is_same
from mezzotint.doctor import course, latents, log, samples, settings, weights
from mezzotint.doctor.finding import Finding, Findings, judge
from mezzotint.errors import UserError
from mezzotint.evaluation.record import number_of
from mezzotint.evaluation.samples import Follow
from mezzotint.metrics.measure import enough
from mezzotint.pipeline.codec import Latents
from mezzotint.pipeline.loading import load, load_codec
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.storage import checkpoint
from mezzotint.storage.files import as_path
from mezzotint.storage.log import read as read_log

T = TypeVar("T")


def diagnose(
    run: str | Path,
    samples: int = 128,
    *,
    on_finding: Callable[[Finding], None] | None = None,
    on_progress: Follow | None = None,
) -> Findings:
    """Examine a run for faults, and name the likely cause and the fix of each.

    The doctor reads the run's log, configuration and checkpoints, denoises training images with the
    newest weights, and makes samples. In the run of an autoencoder, it reconstructs training images
    instead of denoising and sampling. Checks that need the training set, labels or an autoencoder
    are left out if the run has none.

    Args:
        run: A run folder, of a diffusion model or of an autoencoder.
        samples: How many samples to make. More samples show smaller faults. The run's own sampling
            settings are used if they take at most 25 denoiser calls per sample, else 25 steps of
            DDIM.
        on_finding: Called with each finding as soon as it is known.
        on_progress: Called with (what, done, total) while samples are made.

    Returns:
        A list with one `Finding` for each fault that was checked for, with ``severity``, ``title``,
        ``measured``, ``cause`` and ``fix``. The list's attributes ``wrong``, ``doubtful`` and
        ``well`` each hold the findings of that severity. The list prints as a summary.

    Raises:
        UserError: If ``run`` is not a run folder, or ``samples`` is below 10.
    """
    found = Findings()
    follow = on_progress or (lambda what, done, total: None)
    count = samples if isinstance(samples, int) else number_of(samples)
    for finding in examine(as_path(run, "run"), count, follow):
        found.append(finding)
        if on_finding:
            on_finding(finding)
    return found


def examine(
    folder: Path, count: int = 128, follow: Follow = lambda what, done, total: None
) -> Iterator[Finding]:
    """Yield the findings that `diagnose` returns, each as soon as it is known."""
    enough(count)
    yield from course.ordered(_examined(folder, count, follow))


def _examined(folder: Path, count: int, follow: Follow) -> Iterator[Finding]:
    """Yield the findings of all checks, in the order of the checks."""
    if not (folder / "checkpoints").is_dir():
        raise UserError(
            f"{folder} is not a run with checkpoints: give a folder that a training wrote"
        )
    config = configuration.read(folder / "config.json")
    rows = read_log(folder / "log.jsonl")
    yield from course.look(rows, config)
    yield from log.look(rows, config)
    yield weights.checkpoints(folder / "checkpoints")
    try:
        saved = checkpoint.usable(folder / "checkpoints", weights.read, lambda problem: None)
    except UserError:  # all checkpoints are damaged, as the finding above says
        return
    if saved is None:
        return
    facts, ema, raw = saved.facts, saved.ema, saved.raw
    if isinstance(config, Experiment):
        yield from _settings(folder, config, facts)
    sound = weights.finite({"ema": ema, "net": raw})
    yield sound
    if sound.severity == "wrong":  # nothing that is computed with these weights would be finite
        return
    data = None
    try:
        data = _training_set(config, facts)
        yield _missing("", data.fingerprint != facts["data"])
        if isinstance(config, Experiment):
            yield course.conditional(config, data)
    except UserError as error:
        yield _missing(str(error))
    if data is not None and isinstance(config, Experiment):
        pipe = _quietly(partial(load, precision="float32"), folder)
        yield from weights.look(pipe, config, data, ema, raw)
        if isinstance(pipe.codec, Latents):
            yield from latents.look(pipe.codec, data, in_diffusion=True)
        yield from samples.look(pipe, config, data, count, follow)
        if few := samples.too_few(folder / "evaluation" / "figures.jsonl"):
            yield few
    elif data is not None and not isinstance(config, Experiment):
        codec = _quietly(partial(load_codec, precision="float32"), folder)
        yield from latents.look(codec, data, in_diffusion=False)
        yield latents.lagging(codec, config, data, ema, raw)


def _settings(folder: Path, config: Experiment, facts: dict[str, Any]) -> Iterator[Finding]:
    """Yield the findings on the configuration and the model's default sampling settings."""
    pipe: Pipeline | None = None
    with suppress(UserError):  # raised again when the model itself is needed
        pipe = _quietly(partial(load, precision="float32"), folder)
    in_use = replace(config, sample=pipe.defaults) if pipe else config
    seen = facts["step"] * config.train.batch
    yield from settings.look(in_use, tuple(facts["shape"]), len(facts["classes"]), seen)


def _quietly(loader: Callable[[Path], T], folder: Path) -> T:
    """Load a model without warnings about damaged checkpoints, for which there is a finding."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return loader(folder)


def _training_set(config: Any, facts: dict[str, Any]) -> Prepared:
    c = config.data
    found: Prepared = c.prepared()
    if not is_same(found, facts["data"]):
        raise UserError(f"{c.data} has changed since the training: restore it")
    names = facts["classes"]  # [] for a network without classes
    return in_order(found, names) if names and found.fingerprint != facts["data"] else found


def _missing(problem: str, resorted: bool = False) -> Finding:
    """Return a finding on whether the training set, which other checks need, is unchanged.

    ``problem`` says why the training set cannot be read, or is "". ``resorted`` says whether the
    class folders were sorted as text in the training, and are sorted by number now.
    """
    there = "the training set is there, and has not changed"
    but = ", but its class folders are now sorted by number: the run cannot be resumed" * resorted
    return judge(
        "training set missing",
        problem or there + but,
        "the data was moved or has changed; checks that need it were left out",
        "put the data back to the place that the run's config.json names",
        doubtful=bool(problem),
    )
