"""A run folder: begun or continued, logged, drawn and saved while it trains.

config.json    the whole configuration          samples/      grids through the training
log.jsonl      a row each log interval          checkpoints/  step-N
"""

from __future__ import annotations

import json
import os
import signal
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

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
from mezzotint.training.track import Log

# What may change when a run is resumed: nothing of what has been trained depends on it.
MAY_CHANGE = {"data.data", "train.images", "log_every", "sample_every", "save_every", "keep"}
MAY_CHANGE |= {"sample." + name for name in configuration.SampleConfig.__dataclass_fields__}


class Interrupted(Exception):
    """A signal ended the training; what it had learned is saved."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@dataclass(frozen=True)
class Progress:
    """Where a training stands, after each step."""

    images: int
    total: int
    loss: float  # the last logged
    note: str = ""  # what else happened, for a reader


@dataclass
class Trainee:
    """All that training changes, and all that a checkpoint holds."""

    net: nn.Module
    ema: AveragedModel
    optimizer: torch.optim.Optimizer
    step: int = 0
    pending: list[tuple[float, float]] = field(default_factory=list)  # not yet logged: loss, norm

    def save(self, folder: Path, experiment: Experiment, facts: dict[str, Any]) -> Path:
        state = self.optimizer.state_dict()["state"]
        return checkpoint.save(
            folder,
            self.step,
            {
                "net": self.net.state_dict(),
                "ema": self.ema.module.state_dict(),
                "optimizer": {f"{i}.{k}": v for i, s in state.items() for k, v in s.items()},
            },
            {
                "config": configuration.to_json(experiment),
                "state": {"step": self.step, "pending": self.pending, **facts},
            },
            experiment.keep,
        )

    def restore(self, folder: Path) -> None:
        state = json.loads((folder / "state.json").read_text())
        self.step, self.pending = state["step"], [(a, b) for a, b in state["pending"]]
        self.net.load_state_dict(load_file(folder / "net.safetensors"))
        self.ema.module.load_state_dict(load_file(folder / "ema.safetensors"))
        self.ema.n_averaged.fill_(self.step)
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in load_file(folder / "optimizer.safetensors").items():
            index, key = name.split(".")
            moments.setdefault(int(index), {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})


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

    torch.manual_seed(experiment.train.seed)
    net = UNet(experiment.net, facts["shape"][0], len(facts["classes"])).to(accelerator.device)
    ema = averaged(net, experiment.train.batch, experiment.train.ema)
    ema.module.eval()
    trainee = Trainee(net, ema, optimizer(net, experiment.train))
    found = checkpoint.newest(folder / "checkpoints", warnings.warn if main else lambda _: None)
    if found:
        _check_data(found, facts)
        trainee.restore(found)
    accelerator.wait_for_everyone()
    if main:
        folder.mkdir(parents=True, exist_ok=True)
        _replace(folder / "config.json", json.dumps(configuration.to_json(experiment), indent=1))
        log = Log(folder / "log.jsonl", trainee.step)

    total, size = experiment.train.images, experiment.train.batch
    stop, loss, seconds = Stop(accelerator), float("nan"), 0.0
    last_logged = trainee.step
    steps = train(
        accelerator,
        accelerator.prepare(net),
        ema,
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
    begun = f"resumed from {found}" if found else f"begun in {folder}"
    if data.skipped:
        begun += f", {data.skipped} pictures that cannot be read left out"
    yield Progress(trainee.step * size, total, loss, begun)
    with stop:
        while trainee.step < experiment.train.steps:
            began = time.perf_counter()
            now = next(steps)
            trainee.step = now.step
            trainee.pending.append((now.loss.item(), now.grad_norm.item()))
            seconds += time.perf_counter() - began
            images, ending, note = now.step * size, now.step == experiment.train.steps, ""

            def due(every: int, images: int = images, ending: bool = ending) -> bool:
                return ending or images // every > (images - size) // every

            if not all(torch.isfinite(torch.tensor(trainee.pending[-1]))):
                raise UserError(
                    f"the loss or its gradient is not finite at step {now.step}: lower --lr, "
                    f"and go on from the last checkpoint of {folder} with another --out"
                )
            if due(experiment.log_every):
                losses, norms = zip(*trainee.pending, strict=True)
                loss = sum(losses) / len(losses)
                rate = (now.step - last_logged) * size / seconds
                row = {"step": now.step, "images": images, "loss": loss}
                row |= {"grad_norm": sum(norms) / len(norms), "lr": now.lr}
                row |= {"images_per_second": round(rate, 2)}
                if main:
                    log.write(row)
                trainee.pending, seconds, last_logged = [], 0.0, now.step
            caught = stop.number()
            if due(experiment.sample_every) and not caught and main:
                note = f"drew {_draw(experiment, ema.module, facts, folder, images)}"
            if (due(experiment.save_every) or caught) and main:
                saved = trainee.save(folder / "checkpoints", experiment, facts)
                note = f"{note}; saved {saved}" if note else f"saved {saved}"
            yield Progress(images, total, loss, note)
            if caught:
                accelerator.wait_for_everyone()  # a rank that ends early takes the others along
                raise Interrupted(caught)
    accelerator.wait_for_everyone()
    accelerator.end_training()


class Stop:
    """Within it SIGINT and SIGTERM only raise a flag, on which all processes agree."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.caught = 0
        self.before: dict[int, Any] = {}

    def __enter__(self) -> None:
        def note(number: int, frame: FrameType | None) -> None:
            self.caught = number

        for number in (signal.SIGINT, signal.SIGTERM):
            self.before[number] = signal.signal(number, note)

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def number(self) -> int:
        """The signal that any of the processes has caught, or 0; all must ask at the same step."""
        if self.accelerator.num_processes == 1:
            return self.caught
        mine = torch.tensor([self.caught], device=self.accelerator.device)
        return int(self.accelerator.gather(mine).max())


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
