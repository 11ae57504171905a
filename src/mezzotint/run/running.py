"""A training in its folder, from the first check to the last step."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mezzotint import config as configuration
from mezzotint.config.experiment import Configuration, Experiment
from mezzotint.config.paths import absolute, located
from mezzotint.data.showing import understood
from mezzotint.errors import UserError, warn
from mezzotint.networks.record import CustomConfig
from mezzotint.processes import share_of, watched
from mezzotint.run.autoencoder import AutoencoderJob, settled
from mezzotint.run.changes import in_words
from mezzotint.run.diffusion import DiffusionJob
from mezzotint.run.folder import check_data, check_folder, differing, locked, processes
from mezzotint.run.group import check_alike, joined
from mezzotint.run.job import Job
from mezzotint.run.latents import encode_together
from mezzotint.run.saving import restore
from mezzotint.run.steps import Progress, Steps
from mezzotint.storage import checkpoint
from mezzotint.storage.files import Unwritable
from mezzotint.trainer.objective import ObjectiveConfig

if TYPE_CHECKING:
    from accelerate import Accelerator

JOBS: dict[str, Any] = {"diffusion": DiffusionJob, "autoencoder": AutoencoderJob}


def run(
    experiment: Configuration,
    folder: Path,
    resume: bool = False,
    save_when_left: bool = False,
    note: str = "",
    enter: Callable[[], None] = lambda: None,
) -> Generator[Progress, None, None]:
    """Train an experiment in a folder; yield the progress before the first step and after each.

    Processes started by torchrun share each batch. On SIGINT, SIGTERM or SIGHUP the current step is
    finished and saved, and Interrupted is raised. If another process dies, the last step that all
    processes finished is saved, and Died (a UserError) is raised. This step is not saved if the
    weights are divided among the processes.

    Args:
        experiment: The configuration of the training.
        folder: The run's folder.
        resume: Whether to continue from the newest undamaged checkpoint in the folder. On a CPU,
            with the same number of processes, the result is bit for bit the same as without the
            interruption.
        save_when_left: Whether to write a checkpoint if the generator is closed early.
        note: Text to add to the ``note`` of the first `Progress`.
        enter: A function to call first, when the caller's loop begins.

    Raises:
        UserError: If the folder holds another run or is in use, the data or the number of processes
            does not fit the experiment, or the run has already seen more images than requested.
    """
    enter()
    accelerator = joined(own=isinstance(experiment.net, CustomConfig))
    with watched(accelerator.num_processes):
        accelerator.wait_for_everyone()  # another training in the same folder may be ending
    check_folder(folder, resume)
    main = accelerator.is_main_process
    share = experiment.train.share(accelerator.num_processes)
    objective = experiment.objective if isinstance(experiment, Experiment) else None
    if isinstance(objective, ObjectiveConfig) and objective.contrast and share == 1:
        raise UserError(
            "`contrast` compares images with each other, but each process works on one image at a "
            "time: raise `batch`, lower `accumulate`, or pass `contrast=0`"
        )
    if isinstance(experiment, Experiment) and experiment.shard and accelerator.num_processes == 1:
        raise UserError(
            "`shard` divides the network among processes, but there is only one process: start "
            "several with torchrun, or pass `shard=False`"
        )
    with ExitStack() as stack:
        old = (folder / "config.json").exists()
        if main and old:  # before anything else, not to disturb another training there
            stack.enter_context(locked(folder))
        with watched(accelerator.num_processes):
            start = _start(experiment, folder, accelerator)
        if main and not old:
            stack.enter_context(locked(folder))
            if (folder / "config.json").exists():
                raise UserError(
                    f"another process has just trained in {folder}: start this training again"
                )
        job = start.job
        images = job.state.step * experiment.train.batch
        words = _begun(job, folder, start.found), note, start.changes, _understood(job)
        begun = "; ".join(filter(None, words))
        yield Progress(images, experiment.train.images, note=begun)
        try:
            with watched(accelerator.num_processes):
                steps = Steps(job, folder, accelerator)
            yield from steps
        except GeneratorExit:
            if save_when_left:
                steps.save()
            raise
        except Unwritable as error:
            raise Unwritable(error.path, error.cause, _safe(folder)) from None
    with watched(accelerator.num_processes):
        accelerator.wait_for_everyone()


@dataclass(frozen=True)
class _Start:
    """The state at the beginning of a training.

    Attributes:
        job: The job, with the state of the checkpoint if there is one.
        found: The checkpoint from which the training resumes; None for a new training.
        changes: A description of the settings that changed since that checkpoint.
    """

    job: Job
    found: Path | None = None
    changes: str = ""


def _start(experiment: Configuration, folder: Path, accelerator: Accelerator) -> _Start:
    """Prepare a new training, or resume a training from its newest undamaged checkpoint."""
    shards = isinstance(experiment, Experiment) and experiment.shard

    def prepared(found: Path | None) -> Job:
        config = located(experiment, folder) if found else absolute(experiment)
        if isinstance(config, configuration.Autoencoder):
            config = settled(config, folder, found)
        share = share_of(accelerator)
        if share.count > 1 and isinstance(config, Experiment):
            encode_together(config, accelerator.device, found, share)
        with share.first():
            job: Job = JOBS[config.kind](config, accelerator.device, found)
        if shards:
            job.divide(accelerator.device)
        return job

    def resumed(found: Path) -> _Start:
        job = prepared(found)
        changes = differing(job.experiment, folder, found)
        check_data(found, job.facts, job.data)
        restore(job.state, found)
        train = job.experiment.train
        if job.state.step > train.steps:
            raise UserError(
                f"the training in {folder} has seen {job.state.step * train.batch:,} images "
                f"already, more than `images={train.images}`: give at least "
                f"`images={job.state.step * train.batch}`"
            )
        counts = processes(found), accelerator.num_processes
        net = None if shards else job.state.net
        words = in_words(changes, job.experiment, job.state.step, *counts, net)
        return _Start(job, found, words)

    said = warn if accelerator.is_main_process else lambda _: None
    start = checkpoint.usable(folder / "checkpoints", resumed, said) or _Start(prepared(None))
    accelerator.wait_for_everyone()
    if accelerator.num_processes > 1:
        check_alike(start.job.state.step)
    return start


def _safe(folder: Path) -> str:
    """Return advice for a message about a failed write: what is saved, and how to continue."""
    if not (found := checkpoint.listed(folder / "checkpoints")):
        return f", remove {folder} and start again, because nothing was saved yet"
    return f", and continue with `resume=True` from {found[-1].name}, which is complete"


def _understood(job: Job) -> str:
    """Describe the prepared data.

    The size of the latents is added for a latent model, and the padded size if the network pads.
    """
    (_, *sides), factor = job.facts["shape"], job.experiment.net.factor
    whole = [-(-side // factor) * factor for side in sides]
    said = [f"data: {understood(job.data)}"]
    if sides != [*job.data.images.shape[1:3]]:
        said.append(f"latents of {sides[0]}x{sides[1]}")
    if whole != sides:
        said.append(f"padded to {whole[0]}x{whole[1]} inside the network")
    return "; ".join(said)


def _begun(job: Job, folder: Path, found: Path | None) -> str:
    """Return a note about the start of the training."""
    note = f"resumed from {found}" if found else f"started in {folder}"
    if job.beginning and not found:
        note += f"; {job.beginning}"
    if job.state.sampled is not None:
        note += "; its weights are divided among the processes"
    if job.state.step < job.experiment.train.steps and job.state.net.compiled:
        note += "; its network is compiled first, which takes a minute or two"
        # With several processes torch warns that a few kilobytes are copied, because compiled
        # code lays out the gradients of 1x1 convolutions in its own way.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    return note
