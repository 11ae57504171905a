"""A run folder: begun or continued, logged, drawn and saved while it trains.

config.json    the whole configuration          samples/      grids through the training
log.jsonl      a row each log interval          checkpoints/  step-N
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn, cast

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from torch import Tensor

from mezzotint import experiment as configuration
from mezzotint.codec import Pixels
from mezzotint.data.augment import flip
from mezzotint.data.order import rows
from mezzotint.data.prepared import Prepared, prepare
from mezzotint.errors import UserError
from mezzotint.experiment import Experiment
from mezzotint.nets import UNet
from mezzotint.pipeline import Pipeline
from mezzotint.report.colour import channel_statistics
from mezzotint.training import checkpoint
from mezzotint.training.ema import averaged
from mezzotint.training.loop import Batch, optimizer, train
from mezzotint.training.state import TrainState
from mezzotint.training.stop import Interrupted, Stop
from mezzotint.training.track import Log, replace
from mezzotint.watch import Curve, draw, grid

__all__ = ["Interrupted", "Progress", "run"]

OURS = {".config.json", ".lock"}  # what a run that came to nothing may have left

# What may change when a run is resumed: nothing that has been trained depends on it. With more
# images the learning rate goes back to where it stands in the longer training.
MAY_CHANGE = {"data.data", "train.images", "log_every", "sample_every", "save_every", "keep"}
MAY_CHANGE |= {"evaluate_every", "evaluate_samples"}
MAY_CHANGE |= {"sample." + name for name in configuration.SampleConfig.__dataclass_fields__}


@dataclass(frozen=True)
class Progress:
    """Where a training stands, after each step."""

    images: int
    total: int
    loss: float = float("nan")  # the last logged
    note: str = ""  # what else happened, for a reader


def run(experiment: Experiment, folder: Path, resume: bool = False) -> Iterator[Progress]:
    """Train an experiment in a folder, yielding before the first step and after each.

    With ``resume`` an existing run goes on from its newest whole checkpoint, bit for bit as if it
    had never stopped (on one process on a CPU). Under torchrun the processes share each batch. On
    SIGINT or SIGTERM the step is finished and saved, and Interrupted raised. Raises UserError for a
    folder that holds another run or is in use, and for data that does not fit the experiment.
    """
    _check_folder(experiment, folder, resume)
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),
        mixed_precision="no",  # the loop's own business
        # The others wait while the first process prepares the data and draws.
        kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(hours=6))],
    )
    main, device = accelerator.is_main_process, accelerator.device
    experiment.train.share(accelerator.num_processes)
    with accelerator.main_process_first():
        c = experiment.data
        data = prepare(c.data, c.size, skip_bad=c.skip_bad)
    facts = _facts(experiment, data)
    state = _begin(experiment, facts, device)
    pipe = Pipeline(
        net=cast(UNet, state.ema.module.eval()),
        schedule=experiment.noise.build(),
        prediction=experiment.noise.prediction,
        shape=tuple(facts["shape"]),
        classes=facts["classes"],
        defaults=experiment.sampling(facts["classes"]),
        learned_variance=experiment.noise.learn_variance,
    )
    pipe.check()  # now, not at the first grid
    found = checkpoint.newest(folder / "checkpoints", warnings.warn if main else lambda _: None)
    if found:
        _check_data(found, facts)
        state.restore(found)
    accelerator.wait_for_everyone()
    begun = f"resumed from {found}" if found else f"begun in {folder}"
    if data.skipped:
        begun += f", {data.skipped} pictures that cannot be read left out"
    with _locked(folder) if main else nullcontext():
        yield Progress(state.step * experiment.train.batch, experiment.train.images, note=begun)
        yield from _steps(experiment, folder, accelerator, data, facts, state, pipe)
    accelerator.wait_for_everyone()
    accelerator.end_training()


def _steps(
    experiment: Experiment,
    folder: Path,
    accelerator: Accelerator,
    data: Prepared,
    facts: dict[str, Any],
    state: TrainState,
    pipe: Pipeline,
) -> Iterator[Progress]:
    main, config = accelerator.is_main_process, configuration.to_json(experiment)
    if main:
        replace(folder / "config.json", json.dumps(config, indent=1))
        log = Log(folder / "log.jsonl", state.step)
    curve = None
    if experiment.evaluate_every:
        with accelerator.main_process_first():
            curve = Curve(experiment, data, folder, accelerator.device)
    total, size, loss = experiment.train.images, experiment.train.batch, float("nan")
    cast(UNet, state.net).compile_for(experiment.train.steps - state.step)
    steps = train(
        accelerator,
        accelerator.prepare(state.net),
        state.ema,
        state.optimizer,
        pipe.schedule,
        pipe.prediction,
        _batches(experiment, data, accelerator.device),
        pipe.shape,
        len(pipe.classes),
        experiment.train,
        state.step,
        configuration.compute_dtype(experiment.precision, accelerator.device),
        state.objective,
    )

    def due(every: int, step: int) -> bool:
        """Whether a step ends an interval of so many images, or the training."""
        last = step == experiment.train.steps
        return last or step * size // every > (step - 1) * size // every

    def save() -> str:
        return f"saved {state.save(folder / 'checkpoints', config, facts, experiment.keep)}"

    def drawn() -> Progress:
        ready = pipe.in_precision(experiment.precision)
        return Progress(images, total, loss, draw(ready, folder, images, stop))

    def leave(caught: int) -> NoReturn:
        accelerator.wait_for_everyone()  # a rank that ends early takes the others along
        raise Interrupted(caught)

    with Stop(accelerator) as stop:

        def point() -> Progress:
            assert curve
            row, note = curve.point(pipe, state, facts, config, accelerator, stop)
            if row:
                log.write(row)
            return Progress(state.step * size, total, loss, note)

        at = state.step
        if curve and at and at not in curve.known and due(experiment.evaluate_every, at):
            yield point()  # the last one, if a signal fell into it
        clock = time.perf_counter()
        for now in steps:
            state.step, images, note = now.step, now.step * size, ""
            state.pending.append((now.loss, now.grad_norm))
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


def _begin(experiment: Experiment, facts: dict[str, Any], device: torch.device) -> TrainState:
    torch.manual_seed(experiment.train.seed)
    config, noise = experiment.train, experiment.noise
    net = experiment.network(facts["shape"][0], len(facts["classes"])).to(device)
    ema = averaged(net, config.batch, config.ema_halflife)
    objective = config.objective(noise.timesteps, noise.learn_variance).to(device)
    return TrainState(net, ema, optimizer(net, config, objective), objective)


def _check_folder(experiment: Experiment, folder: Path, resume: bool) -> None:
    config = folder / "config.json"
    if not config.exists():
        if folder.exists() and (not folder.is_dir() or set(os.listdir(folder)) - OURS):
            raise UserError(f"{folder} exists and is no run: choose another --out")
        return
    if not resume:
        raise UserError(f"{folder} holds a run already: add --resume, or choose another --out")
    if not checkpoint.listed(folder / "checkpoints"):
        return  # nothing has been trained that another configuration could contradict
    changed = configuration.differences(configuration.read(config), experiment)
    if fixed := sorted(set(changed) - MAY_CHANGE):
        was, now = changed[fixed[0]]
        raise UserError(
            f"{folder} was begun with {fixed[0]} = {was}, not {now}"
            + (f" ({', '.join(fixed[1:])} differ too)" if fixed[1:] else "")
            + ": resume it as it was, or choose another --out"
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Make a run's folder, and hold it against a second process that would train there too."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UserError(f"{folder} is in training by another process: stop that") from None
        yield


def _facts(experiment: Experiment, data: Prepared) -> dict[str, Any]:
    """What a model owes to its data, kept in each checkpoint; checks that the two fit."""
    height, width, channels = data.images.shape[1:]
    if height % experiment.net.factor or width % experiment.net.factor:
        raise UserError(
            f"pictures of {width}x{height} cannot be halved by this network: "
            f"pass a --size divisible by {experiment.net.factor}"
        )
    if experiment.data.conditional and not data.classes:
        raise UserError(f"{experiment.data.data} has no classes: pass --no-conditional")
    classes = data.classes if experiment.data.conditional else ()
    return {
        "shape": (channels, height, width),
        "classes": classes,
        "data": data.fingerprint,
        "colour": channel_statistics(data.images[:: -(-len(data.images) // 10_000)]),
    }


def _check_data(found: Path, facts: dict[str, Any]) -> None:
    then = json.loads((found / "state.json").read_text())["data"]
    if then != facts["data"]:
        raise UserError(
            f"the data is not what {found} was trained on (SHA-256 {facts['data'][:12]}, "
            f"then {then[:12]}): give the same data, or choose another --out"
        )


def _batches(experiment: Experiment, data: Prepared, device: torch.device) -> Batch:
    codec = Pixels()
    seed, conditional = experiment.train.seed, experiment.data.conditional

    def batch(start: int, count: int, u: Tensor) -> tuple[Tensor, Tensor | None]:
        index = rows(seed, start, count, len(data.images))
        images = torch.from_numpy(data.images[index]).to(device).permute(0, 3, 1, 2)
        x0 = codec.encode(images.contiguous())
        labels = torch.from_numpy(data.labels[index]).to(device) if conditional else None
        return flip(x0, u < 0.5) if experiment.data.flip else x0, labels

    return batch
