"""A training looked at while it goes on: grids of pictures, and how far they are from the data."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from mezzotint.data import Prepared
from mezzotint.evaluate import Against, Share, evaluate, measure
from mezzotint.experiment import Experiment
from mezzotint.metrics.networks import choose
from mezzotint.pipeline import Pipeline
from mezzotint.report import figures
from mezzotint.training.state import TrainState
from mezzotint.training.stop import Stop
from mezzotint.training.track import read

BEST = "best"


def grid(folder: Path, images: int) -> Path:
    """Where a run's grid after so many images lies."""
    return folder / "samples" / f"{images:09d}.png"


def draw(pipe: Pipeline, folder: Path, images: int, stop: Stop) -> str:
    """Draw the averaged weights' grid, of the same noise each time: up to ten classes, 8 of each.

    A signal ends it early; what is told is the grid's path, or that.
    """

    def follow(done: int, calls: int) -> None:
        if stop.caught:
            raise InterruptedError

    labels = [k for k in range(min(len(pipe.classes), 10)) for _ in range(8)] or None
    try:
        pictures = pipe.sample(len(labels) if labels else 64, labels, on_step=follow)
    except InterruptedError:
        return "left the grid undrawn for the signal"
    path = grid(folder, images)
    path.parent.mkdir(exist_ok=True)
    figures.grid(pictures, labels, pipe.classes).save(path)
    return f"drew {path}"


class Curve:
    """The Frechet distance of the averaged weights' pictures to the data, through a training.

    All processes make the pictures; the first one measures them, and keeps the weights that came
    nearest as ``checkpoints/best``.
    """

    def __init__(
        self, experiment: Experiment, data: Prepared, folder: Path, device: torch.device
    ) -> None:
        self.experiment, self.folder = experiment, folder
        against = Against(f"{experiment.data.data} train", data)
        height, width = data.images.shape[1:3]
        self.measure = measure(choose(data.classes), against, (height, width), device)
        log = folder / "log.jsonl"
        rows = read(log) if log.exists() else []
        self.known = {row["step"]: row["figure"] for row in rows if "figure" in row}

    def point(
        self,
        pipe: Pipeline,
        state: TrainState,
        facts: dict[str, Any],
        config: dict[str, Any],
        accelerator: Accelerator,
        stop: Stop,
    ) -> tuple[dict[str, Any] | None, str]:
        """Measure the averaged weights: the row for the log, in the first process, and a note.

        A signal that any process catches ends it early in all of them.
        """
        agreed = False

        def follow(what: str, done: float, total: int) -> None:
            if stop.caught:
                raise InterruptedError

        def wait() -> None:
            nonlocal agreed
            agreed = True
            if stop.number():
                raise InterruptedError

        share = Share(accelerator.process_index, accelerator.num_processes, wait)
        pictures = self.folder / ".evaluation"
        if not share.number:
            shutil.rmtree(pictures, ignore_errors=True)
        accelerator.wait_for_everyone()
        try:
            results = list(
                evaluate(
                    pipe.in_precision(self.experiment.precision),
                    [self.measure],
                    pipe.defaults,
                    [self.experiment.evaluate_samples],
                    pictures,
                    chosen=("fd",),
                    share=share,
                    follow=follow,
                )
            )
        except InterruptedError:
            if not agreed:
                stop.number()
            return None, "left the distance unmeasured for the signal"
        if share.number:
            return None, ""
        shutil.rmtree(pictures)
        figure = results[0][1][0]
        best = min((f["value"] for f in self.known.values()), default=float("inf"))
        self.known[state.step] = asdict(figure)
        note = f"{figure.name} {figure.value:.2f} ({figure.samples:,} pictures)"
        if figure.value < best:
            best_folder = self.folder / "checkpoints" / BEST
            state.save_average(best_folder, config, {**facts, "figure": asdict(figure)})
            note += f", the best so far: {best_folder}"
        images = state.step * self.experiment.train.batch
        return {"step": state.step, "images": images, "figure": asdict(figure)}, note
