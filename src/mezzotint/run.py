"""A run folder: begun or continued, logged, drawn and saved while it trains.

config.json    the whole configuration          samples/      grids through the training
log.jsonl      a row each log interval          checkpoints/  step-N
"""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from mezzotint import experiment as configuration
from mezzotint.codec import Pixels
from mezzotint.data.augment import flip
from mezzotint.data.order import rows
from mezzotint.data.prepared import Prepared, prepare
from mezzotint.errors import UserError
from mezzotint.experiment import Experiment
from mezzotint.nets import UNet
from mezzotint.pipeline import Pipeline
from mezzotint.report import figures
from mezzotint.report.colour import channel_statistics
from mezzotint.training import checkpoint
from mezzotint.training.ema import averaged
from mezzotint.training.loop import Batch, optimizer, train
from mezzotint.training.stop import Interrupted, Stop
from mezzotint.training.track import Log
from mezzotint.training.trainee import Trainee

__all__ = ["Interrupted", "Progress", "run"]

# What may change when a run is resumed: nothing of what has been trained depends on it.
MAY_CHANGE = {"data.data", "train.images", "log_every", "sample_every", "save_every", "keep"}
MAY_CHANGE |= {"sample." + name for name in configuration.SampleConfig.__dataclass_fields__}


@dataclass(frozen=True)
class Progress:
    """Where a training stands, after each step."""

    images: int
    total: int
    loss: float  # the last logged
    note: str = ""  # what else happened, for a reader


def run(experiment: Experiment, folder: Path, resume: bool = False) -> Iterator[Progress]:
    """Train an experiment in a folder, yielding before the first step and after each.

    With ``resume`` an existing run goes on from its newest whole checkpoint, bit for bit as if it
    had never stopped (on one process on a CPU). Under torchrun the processes share each batch. On
    SIGINT or SIGTERM the step is finished and saved, and Interrupted raised. Raises UserError for a
    folder that holds another run, and for data that does not fit the experiment.
    """
    _check_folder(experiment, folder, resume)
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    main = accelerator.is_main_process
    with accelerator.main_process_first():
        c = experiment.data
        data = prepare(c.data, c.size, skip_bad=c.skip_bad)
    facts = _facts(experiment, data)

    trainee = _begin(experiment, facts, accelerator.device)
    found = checkpoint.newest(folder / "checkpoints", warnings.warn if main else lambda _: None)
    if found:
        _check_data(found, facts)
        trainee.restore(found)
    accelerator.wait_for_everyone()
    config = configuration.to_json(experiment)
    if main:
        folder.mkdir(parents=True, exist_ok=True)
        _replace(folder / "config.json", json.dumps(config, indent=1))
        log = Log(folder / "log.jsonl", trainee.step)

    begun = f"resumed from {found}" if found else f"begun in {folder}"
    if data.skipped:
        begun += f", {data.skipped} pictures that cannot be read left out"
    total, size = experiment.train.images, experiment.train.batch
    loss = float("nan")
    yield Progress(trainee.step * size, total, loss, begun)

    steps = train(
        accelerator,
        accelerator.prepare(trainee.net),
        trainee.ema,
        trainee.optimizer,
        experiment.noise.build(),
        experiment.noise.prediction,
        _batches(experiment, data, accelerator.device),
        tuple(facts["shape"]),
        len(facts["classes"]),
        experiment.train,
        trainee.step,
        _dtype(experiment),
    )
    with Stop(accelerator) as stop:
        clock = time.perf_counter()
        for now in steps:
            trainee.step, images, notes = now.step, now.step * size, []
            trainee.pending.append((now.loss.item(), now.grad_norm.item()))
            trainee.timed += 1
            trainee.seconds += time.perf_counter() - clock
            if not np.isfinite(trainee.pending[-1]).all():
                raise UserError(
                    f"the loss or its gradient is not finite at step {now.step}: begin again with "
                    f"a lower --lr and another --out; what {folder} holds is from before"
                )
            if _due(experiment.log_every, now.step, experiment):
                row = trainee.summary(now.lr, size)
                loss = row["loss"]
                if main:
                    log.write(row)
            caught = stop.number()
            if main and not caught and _due(experiment.sample_every, now.step, experiment):
                notes.append(f"drew {_draw(experiment, trainee.ema.module, facts, folder, images)}")
            if main and (caught or _due(experiment.save_every, now.step, experiment)):
                saved = trainee.save(folder / "checkpoints", config, facts, experiment.keep)
                notes.append(f"saved {saved}")
            yield Progress(images, total, loss, "; ".join(notes))
            if caught:
                accelerator.wait_for_everyone()  # a rank that ends early takes the others along
                raise Interrupted(caught)
            clock = time.perf_counter()
    accelerator.wait_for_everyone()
    accelerator.end_training()


def _begin(experiment: Experiment, facts: dict[str, Any], device: torch.device) -> Trainee:
    torch.manual_seed(experiment.train.seed)
    net = UNet(experiment.net, facts["shape"][0], len(facts["classes"])).to(device)
    ema = averaged(net, experiment.train.batch, experiment.train.ema)
    ema.module.eval()
    return Trainee(net, ema, optimizer(net, experiment.train))


def _due(every: int, step: int, experiment: Experiment) -> bool:
    """Whether a step ends an interval of so many images, or the training."""
    batch = experiment.train.batch
    return step == experiment.train.steps or step * batch // every > (step - 1) * batch // every


def _dtype(experiment: Experiment) -> torch.dtype:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return configuration.autocast_dtype(experiment.precision, device)


def _check_folder(experiment: Experiment, folder: Path, resume: bool) -> None:
    config = folder / "config.json"
    if not config.exists():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"{folder} exists and is no run: choose another --out")
        return
    if not resume:
        raise UserError(f"{folder} holds a run already: add --resume, or choose another --out")
    changed = configuration.differences(configuration.read(config), experiment)
    if fixed := sorted(set(changed) - MAY_CHANGE):
        was, now = changed[fixed[0]]
        raise UserError(
            f"{folder} was begun with {fixed[0]} = {was}, not {now}"
            + (f" ({', '.join(fixed[1:])} differ too)" if fixed[1:] else "")
            + ": resume it as it was, or choose another --out"
        )


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
        "shape": [channels, height, width],
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


def _draw(
    experiment: Experiment, net: nn.Module, facts: dict[str, Any], folder: Path, images: int
) -> Path:
    """A grid from the averaged weights, always of the same noise: up to ten classes, 8 of each."""
    pipe = Pipeline(
        net=net,
        schedule=experiment.noise.build(),
        prediction=experiment.noise.prediction,
        shape=tuple(facts["shape"]),
        classes=tuple(facts["classes"]),
        defaults=experiment.sample,
        dtype=_dtype(experiment),
    )
    labels = [k for k in range(min(len(pipe.classes), 10)) for _ in range(8)] or None
    pictures = pipe.sample(len(labels) if labels else 64, labels)
    path = folder / "samples" / f"{images:09d}.png"
    path.parent.mkdir(exist_ok=True)
    figures.grid(pictures, labels, pipe.classes).save(path)
    return path


def _replace(path: Path, text: str) -> None:
    beside = path.with_suffix(".tmp")
    beside.write_text(text)
    os.replace(beside, path)
