"""A run folder: begun or continued, logged, drawn and saved while it trains.

config.json    the whole configuration          samples/      grids through the training
log.jsonl      a row each log interval          checkpoints/  step-N
averages/      step-N of two short averages, where asked for
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch

from mezzotint import config as configuration
from mezzotint.config.experiment import Configuration
from mezzotint.errors import Interrupted, UserError
from mezzotint.run.autoencoder import AutoencoderJob, settled
from mezzotint.run.diffusion import DiffusionJob
from mezzotint.run.folder import check_data, check_folder, forget, locked
from mezzotint.run.job import Job
from mezzotint.run.stop import Stop
from mezzotint.run.watch import Curve, draw, grid
from mezzotint.storage import checkpoint
from mezzotint.storage.files import replace
from mezzotint.storage.log import Log
from mezzotint.trainer.loop import Step, train

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["Interrupted", "Progress", "run"]

JOBS: dict[str, Any] = {"diffusion": DiffusionJob, "autoencoder": AutoencoderJob}


@dataclass(frozen=True)
class Progress:
    """Where a training stands, after each step."""

    images: int
    total: int
    loss: float = float("nan")  # the last logged
    note: str = ""  # what else happened, for a reader


def run(experiment: Configuration, folder: Path, resume: bool = False) -> Iterator[Progress]:
    """Train an experiment in a folder, yielding before the first step and after each.

    With ``resume`` an existing run goes on from its newest whole checkpoint, bit for bit as if it
    had never stopped (on one process on a CPU). Under torchrun the processes share each batch. On
    SIGINT or SIGTERM the step is finished and saved, and Interrupted raised. Raises UserError for a
    folder that holds another run or is in use, and for data that does not fit the experiment.
    """
    if isinstance(experiment, configuration.Autoencoder):
        experiment = settled(experiment, folder)
    check_folder(experiment, folder, resume)
    from accelerate import Accelerator, InitProcessGroupKwargs

    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),
        mixed_precision="no",  # the loop's own business
        # The others wait while the first process prepares the data and draws.
        kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(hours=6))],
    )
    main, device = accelerator.is_main_process, accelerator.device
    experiment.train.share(accelerator.num_processes)
    found = checkpoint.newest(folder / "checkpoints", warnings.warn if main else lambda _: None)
    with accelerator.main_process_first():
        job: Job = JOBS[experiment.kind](experiment, device, found)
    if found:
        check_data(found, job.facts)
        job.state.restore(found)
    accelerator.wait_for_everyone()
    begun = f"resumed from {found}" if found else f"begun in {folder}"
    if job.data.skipped:
        begun += f", {job.data.skipped} pictures that cannot be read left out"
    if job.state.step < experiment.train.steps and job.state.net.compiled:
        begun += "; compiling its network first, a minute or two"
        # Of two processes: compiled code lays out the gradients of 1x1 convolutions in its own
        # way, and torch says that a few kilobytes are copied.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    with locked(folder) if main else nullcontext():
        if main and checkpoint.newest(folder / "checkpoints", lambda _: None) != found:
            raise UserError(f"another process has trained in {folder} meanwhile: start again")
        images = job.state.step * experiment.train.batch
        yield Progress(images, experiment.train.images, note=begun)
        yield from _steps(job, folder, accelerator)
    accelerator.wait_for_everyone()
    accelerator.end_training()


def _begun(steps: Iterator[Step], stop: Stop) -> Iterator[Step]:
    """The steps. If the first fails after a signal, that is why: a terminal's Ctrl-C goes to the
    compiler that the step waits for too. Nothing was learned then, and nothing is lost.
    """
    try:
        first = next(steps, None)
    except Exception:
        if stop.caught:
            raise Interrupted(stop.caught) from None
        raise
    if first:
        yield first
        yield from steps


def _steps(job: Job, folder: Path, accelerator: Accelerator) -> Iterator[Progress]:
    experiment, state = job.experiment, job.state
    main, config = accelerator.is_main_process, configuration.to_json(experiment)
    if main:
        if not state.step:
            forget(folder)
        replace(folder / "config.json", json.dumps(config, indent=1))
        log = Log(folder / "log.jsonl", state.step)
    curve = None
    if experiment.evaluate_every:
        with accelerator.main_process_first():
            curve = Curve(job, folder)
    total, size, loss = experiment.train.images, experiment.train.batch, float("nan")
    net = accelerator.prepare(state.net)
    steps = train(
        *(accelerator, net, state.ema, state.optimizer, state.task, job.batch),
        *(experiment.train, state.step),
    )

    def due(every: int, step: int) -> bool:
        """Whether a step ends an interval of so many images, or the training."""
        last = step == experiment.train.steps
        return last or step * size // every > (step - 1) * size // every

    def save() -> str:
        facts, more = job.finished()
        made = state.save(folder / "checkpoints", config, facts, experiment.keep, more)
        return f"saved {made}"

    def drawn() -> Progress:
        return Progress(images, total, loss, draw(job, folder, images, stop))

    def leave(caught: int) -> NoReturn:
        accelerator.wait_for_everyone()  # a rank that ends early takes the others along
        raise Interrupted(caught)

    with Stop(accelerator) as stop:

        def point() -> Progress:
            assert curve
            row, note = curve.point(config, accelerator, stop)
            if row:
                log.write(row)
            return Progress(state.step * size, total, loss, note)

        at = state.step
        if curve and at and at not in curve.known and due(experiment.evaluate_every, at):
            yield point()  # the last one, if a signal fell into it
        clock = time.perf_counter()
        for now in _begun(steps, stop):
            state.step, images, note = now.step, now.step * size, ""
            for average in state.averages.values():
                average.update_parameters(state.net)
            state.pending.append({**now.figures, "grad_norm": now.grad_norm})
            logging = due(experiment.log_every, now.step)
            if logging:
                state.read()  # waits for the device, so that the time is the true one
            state.timed += 1
            state.seconds += time.perf_counter() - clock
            if logging:
                row = state.summary(now.lr, size)
                loss = row["loss"]
                if main:
                    log.write(row)
            caught = stop.number()
            # Before the checkpoint: a run that goes on from there has the snapshot.
            if main and state.averages and due(experiment.train.snapshots, now.step):
                state.snapshot(folder / "averages")
            if main and (caught or due(experiment.save_every, now.step)):
                note = save()
            yield Progress(images, total, loss, note)
            if caught:
                leave(caught)
            if main and due(experiment.sample_every, now.step):
                yield drawn()
            if curve and due(experiment.evaluate_every, now.step):
                yield point()
                if caught := stop.number():  # resumed from here, what it broke off is made up for
                    if main:
                        yield Progress(images, total, loss, save())
                    leave(caught)
            clock = time.perf_counter()
        images = state.step * size
        if main and not grid(folder, images).exists():  # the last one, if a signal fell into it
            yield drawn()
        if caught := stop.number():
            raise Interrupted(caught)
