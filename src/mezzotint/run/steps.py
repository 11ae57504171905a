"""The work after each step of a training: log, checkpoints, image grids and measured figures."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from mezzotint import config as configuration
from mezzotint.config.paths import stored
from mezzotint.errors import Interrupted, UserError
from mezzotint.processes import Died, share_of, watched
from mezzotint.run import saving
from mezzotint.run.folder import forget, locked, note_saved
from mezzotint.run.job import Job
from mezzotint.run.preview import Curve, draw, is_drawn
from mezzotint.run.stop import Stop
from mezzotint.storage import checkpoint, jsonl
from mezzotint.storage.files import replace
from mezzotint.storage.log import Log, read
from mezzotint.trainer.loop import Step, train

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class Progress:
    """The progress of a training, before the first step or after a step.

    Rows and figures of log.jsonl that were written before a resume are not included.

    Attributes:
        images: Images seen so far.
        total: Images of the whole training.
        loss: The loss in ``row``, a mean over the log interval; NaN if ``row`` is empty.
        note: A message about an event, such as a checkpoint.
        row: The newest row of losses in log.jsonl (step, loss, grad_norm, lr, images_per_second
            ...); empty before the first row.
        figure: The newest figure in log.jsonl (name, value, low, high, samples ...); empty before
            the first measurement.
    """

    images: int
    total: int
    loss: float = float("nan")
    note: str = ""
    row: Mapping[str, Any] = field(default_factory=dict)
    figure: Mapping[str, Any] = field(default_factory=dict)


class Steps:
    """The remaining steps of a training; iterate over them to carry them out."""

    def __init__(self, job: Job, folder: Path, accelerator: Accelerator) -> None:
        self.job, self.folder, self.accelerator = job, folder, accelerator
        self.experiment, self.state = job.experiment, job.state
        self.main = accelerator.is_main_process
        self.config = configuration.to_json(stored(self.experiment, folder))
        self.row: dict[str, Any] = {}
        self.figure: dict[str, Any] = {}
        self.saved = self.state.step  # the step of the newest checkpoint
        if self.main:
            if not self.state.step:
                forget(folder)
            note_saved(folder, bool(self.state.step))
            replace(folder / "config.json", json.dumps(self.config, indent=1))
            self.log = Log(folder / "log.jsonl", self.state.step)
        self.curve = None
        if self.experiment.evaluate_every:
            with share_of(accelerator).first():
                self.curve = Curve(job, folder)

    def __iter__(self) -> Iterator[Progress]:
        """Train; yield after each step, and after any other work that takes time.

        On SIGINT, SIGTERM or SIGHUP, this finishes the current step, saves it, and raises
        Interrupted. If another process has died, it saves the last step that all processes have
        finished, and raises Died.
        """
        # This also holds back the signals that torchrun sends to the processes that survive, until
        # everything is saved.
        with Stop(self.accelerator) as stop:
            try:
                with watched(self.accelerator.num_processes):
                    yield from self._steps(stop)
            except Died:
                died = f"another of the processes has died{self._rescue()}"
                raise Died(died) from None

    def _steps(self, stop: Stop) -> Iterator[Progress]:
        steps = self._train()
        yield from self._missed_figure(stop)
        clock = time.perf_counter()
        for now in _begun(steps, stop, self.state.step):
            self._count(now, clock)
            # Write the snapshot first, so that a run resumed from the checkpoint has it.
            if self.state.averages and self._due(self.experiment.train.snapshots):
                tensors = self.state.snapshots()
                if self.main:
                    saving.snapshot(self.state, tensors, self.folder / "averages")
            caught = stop.number()
            saves = caught or self._due(self.experiment.save_every)
            yield self._progress(self._saved() if saves else "")
            if caught:
                self._leave(caught)
            yield from self._look(stop)
            clock = time.perf_counter()
        yield from self._missed_grid(stop)

    def save(self) -> None:
        """Write a checkpoint of the current state, unless it is saved already or is step 0."""
        if self.state.step != self.saved:
            self._saved()

    def _rescue(self) -> str:
        """Save the current state after another process has died; return advice for the message.

        If the weights are divided, a part of them is lost, so nothing is saved. Otherwise the first
        process saves. If the first process has died, its lock on the folder is released. Then the
        process that takes the lock saves, and adds the last row to the log if it is missing.
        """
        if not self.state.step:
            return " before the first step: start it again"
        if self.state.sampled is not None:
            return ", and its part of the weights is lost: continue with `resume=True`"
        if self.main:
            self.save()
        else:
            here = self.folder / "checkpoints" / f"step-{self.state.step}"
            with suppress(UserError), locked(self.folder):
                rows = read(self.folder / "log.jsonl")
                if self.row and (not rows or rows[-1]["step"] < self.row["step"]):
                    jsonl.append(self.folder / "log.jsonl", self.row)
                if here not in checkpoint.listed(here.parent):
                    self._saved(writes=True)
        return f"; step {self.state.step} is saved: continue with `resume=True`"

    def _train(self) -> Iterator[Step]:
        state, config = self.state, self.experiment.train
        net = state.net if state.sampled is not None else self.accelerator.prepare(state.net)
        learned = (net, state.ema, state.optimizer, state.task)
        return train(self.accelerator, *learned, self.job.batch, config, state.step)

    def _count(self, now: Step, clock: float) -> None:
        """Record a step that began at the time ``clock``; write to the log if a row is due."""
        state = self.state
        state.step = now.step
        for average in state.averages.values():
            average.update_parameters(state.net)
        state.pending.append({**now.figures, "grad_norm": now.grad_norm})
        logging = self._due(self.experiment.log_every)
        if logging:
            state.read()  # waits for the device, for a correct time
        state.timed += 1
        state.seconds += time.perf_counter() - clock
        if logging:
            self.row = state.summary(now.lr, self.experiment.train.batch)
            if self.main:
                self.log.write(self.row)

    def _look(self, stop: Stop) -> Iterator[Progress]:
        """Draw a grid of images if one is due; measure the distance to the data if that is due."""
        drawn = self._due(self.experiment.sample_every)
        measured = self.curve and self._due(self.experiment.evaluate_every)
        if drawn or measured:
            self.state.gather()
        if self.main and drawn:
            yield self._drawn(stop)
        if self.curve and measured:
            yield from self._measured(self.curve, stop)
            if caught := stop.number():  # a resume from here measures the missed figure
                yield self._progress(self._saved())
                self._leave(caught)

    def _missed_figure(self, stop: Stop) -> Iterator[Progress]:
        """Measure the distance to the data, if a signal interrupted this measurement before."""
        at, every = self.state.step, self.experiment.evaluate_every
        if self.curve and at and at not in self.curve.known and self._due(every):
            self.state.gather()
            yield from self._measured(self.curve, stop)

    def _missed_grid(self, stop: Stop) -> Iterator[Progress]:
        """Draw the last grid of images, if a signal interrupted the first attempt."""
        self.state.gather()
        if self.main and not is_drawn(self.folder, self._images()):
            yield self._drawn(stop)
        if caught := stop.number():
            raise Interrupted(caught)

    def _images(self) -> int:
        return self.state.step * self.experiment.train.batch

    def _due(self, every: int) -> bool:
        """Return whether this step ends an interval of ``every`` images, or the training."""
        step, size = self.state.step, self.experiment.train.batch
        last = step == self.experiment.train.steps
        return last or step * size // every > (step - 1) * size // every

    def _progress(self, note: str = "") -> Progress:
        total, loss = self.experiment.train.images, self.row.get("loss", float("nan"))
        return Progress(self._images(), total, loss, note, self.row, self.figure)

    def _saved(self, writes: bool = False) -> str:
        """Write a checkpoint and return a note about it.

        The first process writes. Any other process writes only if ``writes`` is set, and otherwise
        returns "". If the weights are divided among the processes, all processes must call this
        method, because each process contributes its part of the weights.
        """
        tensors = self.state.tensors()
        if not (self.main or writes):
            self.saved = self.state.step
            return ""
        facts, more = self.job.finished()
        facts = {**facts, "processes": self.accelerator.num_processes}
        folder, keep = self.folder / "checkpoints", self.experiment.keep
        first = not checkpoint.listed(folder)
        saved = saving.save(self.state, tensors, folder, self.config, facts, keep, more)
        self.saved = self.state.step
        if first:
            note_saved(self.folder, True)
        return f"saved {saved}"

    def _drawn(self, stop: Stop) -> Progress:
        return self._progress(draw(self.job, self.folder, self._images(), stop))

    def _measured(self, curve: Curve, stop: Stop) -> Iterator[Progress]:
        yield self._progress(f"measuring {self.experiment.evaluate_samples:,} images")
        row, note = curve.point(self.config, self.accelerator, stop)
        if row:
            self.log.write(row)
            self.figure = row["figure"]
        yield self._progress(note)

    def _leave(self, caught: int) -> NoReturn:
        self.accelerator.wait_for_everyone()  # a process that exits early would end the others
        raise Interrupted(caught)


def _begun(steps: Iterator[Step], stop: Stop, before: int) -> Iterator[Step]:
    """Yield the steps of a training; raise Interrupted if a signal makes the first step fail.

    The first step waits for the compiler. Ctrl-C in a terminal also stops the compiler, so the
    first step fails. Nothing is lost, because this process has not finished a step yet. ``before``
    is the number of steps of the checkpoint from which the training resumes, or 0.
    """
    try:
        first = next(steps, None)
    except Exception:
        if stop.caught:
            raise Interrupted(stop.caught, before > 0) from None
        raise
    if first:
        yield first
        yield from steps
