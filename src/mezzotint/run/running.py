"""A training in its folder, from the first check to the last step."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mezzotint import config as configuration
from mezzotint.config.experiment import Configuration
from mezzotint.config.paths import located
from mezzotint.errors import UserError, counted
from mezzotint.run.autoencoder import AutoencoderJob, settled
from mezzotint.run.changes import in_words
from mezzotint.run.diffusion import DiffusionJob
from mezzotint.run.folder import check_data, check_folder, locked
from mezzotint.run.job import Job
from mezzotint.run.saving import restore
from mezzotint.run.steps import Progress, Steps
from mezzotint.storage import checkpoint

if TYPE_CHECKING:
    from accelerate import Accelerator

JOBS: dict[str, Any] = {"diffusion": DiffusionJob, "autoencoder": AutoencoderJob}


def run(
    experiment: Configuration,
    folder: Path,
    resume: bool = False,
    save_when_left: bool = False,
    note: str = "",
) -> Generator[Progress, None, None]:
    """Train an experiment in a folder; yield before the first step and after each.

    Processes started by torchrun share each batch. On SIGINT or SIGTERM the current step is
    finished and saved, and Interrupted is raised.

    Args:
        experiment: What to train, and how.
        folder: The run's folder.
        resume: Whether to continue from the newest whole checkpoint in the folder. On one process
            on a CPU the result is the same to the bit as without the interruption.
        save_when_left: Whether to write a checkpoint if the generator is closed early.
        note: What else the first note should say.

    Raises:
        UserError: If the folder holds another run or is in use, or the data does not fit the
            experiment.
    """
    experiment = located(experiment, folder)
    if isinstance(experiment, configuration.Autoencoder):
        experiment = settled(experiment, folder)
    changes = check_folder(experiment, folder, resume)
    accelerator = _accelerator()
    main = accelerator.is_main_process
    experiment.train.share(accelerator.num_processes)
    found = checkpoint.newest(folder / "checkpoints", warnings.warn if main else lambda _: None)
    job = _job(experiment, found, accelerator)
    with locked(folder) if main else nullcontext():
        if main and checkpoint.newest(folder / "checkpoints", lambda _: None) != found:
            raise UserError(f"another process has just trained in {folder}: start again")
        images = job.state.step * experiment.train.batch
        notes = [note] * bool(note) + [in_words(changes, experiment, job.state.step)] * bool(found)
        begun = "; ".join(filter(None, [_begun(job, folder, found), *notes]))
        yield Progress(images, experiment.train.images, note=begun)
        steps = Steps(job, folder, accelerator)
        try:
            yield from steps
        except GeneratorExit:
            if save_when_left:
                steps.save()
            raise
    accelerator.wait_for_everyone()
    accelerator.end_training()


def _accelerator() -> Accelerator:
    from accelerate import Accelerator, InitProcessGroupKwargs  # imported late: takes a second

    return Accelerator(
        cpu=not torch.cuda.is_available(),
        mixed_precision="no",  # the loop does that itself
        # The other processes wait while the first prepares the data and draws the grids.
        kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(hours=6))],
    )


def _job(experiment: Configuration, found: Path | None, accelerator: Accelerator) -> Job:
    """Return the job at its beginning, or restored from a checkpoint."""
    with accelerator.main_process_first():
        job: Job = JOBS[experiment.kind](experiment, accelerator.device, found)
    if found:
        check_data(found, job.facts)
        restore(job.state, found)
    accelerator.wait_for_everyone()
    return job


def _begun(job: Job, folder: Path, found: Path | None) -> str:
    """Return a note that says how the training begins."""
    note = f"resumed from {found}" if found else f"started in {folder}"
    if job.beginning and not found:
        note += f"; {job.beginning}"
    if job.data.skipped:
        note += f", without {counted(job.data.skipped, 'image')} that cannot be read"
    note += "".join(f"; {line}" for line in job.data.notes)
    if job.state.step < job.experiment.train.steps and job.state.net.compiled:
        note += "; compiling its network first, a minute or two"
        # With several processes torch warns that a few kilobytes are copied, because compiled
        # code lays out the gradients of 1x1 convolutions in its own way.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    return note
