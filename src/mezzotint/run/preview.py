"""The image grids and the measured figures during a training."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from mezzotint.drawing.bars import UNDER_WAY
from mezzotint.processes import Share
from mezzotint.run import saving
from mezzotint.run.folder import BEST
from mezzotint.run.job import Job
from mezzotint.run.stop import Stop
from mezzotint.storage.files import beside, written
from mezzotint.storage.log import read
from mezzotint.storage.parse import regular

if TYPE_CHECKING:
    from accelerate import Accelerator


def grid(folder: Path, images: int) -> Path:
    """Return the path of the grid that a run draws after training on a number of images."""
    return folder / "samples" / f"{images:09d}.png"


def is_drawn(folder: Path, images: int) -> bool:
    """Return whether the grid drawn after training on ``images`` images exists and is complete."""
    try:
        with Image.open(regular(grid(folder, images)), formats=["PNG"]) as image:
            image.load()
    except (OSError, SyntaxError, ValueError):
        return False
    return True


def draw(job: Job, folder: Path, images: int, stop: Stop) -> str:
    """Draw a grid of images with the averaged weights, always from the same noise or originals.

    Returns a note with the grid's path, or a note about a signal that stopped the drawing.
    """

    def follow(done: int, calls: int) -> None:
        if stop.caught:
            raise InterruptedError

    try:
        sheet = job.sheet(follow)
    except InterruptedError:
        return "stopped by a signal before the grid was drawn"
    path = grid(folder, images)
    with written(path):
        path.parent.mkdir(exist_ok=True)
    with beside(path) as partial:
        sheet.save(partial)
    return f"drew {path}"


class Curve:
    """Measures the Frechet distance to the data during a training.

    `Job.distance` makes images with the averaged weights, and measures them in the first process.
    That process keeps the weights with the smallest distance so far as ``checkpoints/best``.
    """

    def __init__(self, job: Job, folder: Path) -> None:
        self.job, self.folder = job, folder
        self.measure = job.measure()
        rows = read(folder / "log.jsonl")
        self.known = {row["step"]: row for row in rows if "figure" in row}

    def point(
        self, config: dict[str, Any], accelerator: Accelerator, stop: Stop
    ) -> tuple[dict[str, Any] | None, str]:
        """Measure the averaged weights; return the row for the log, and a note about the result.

        The row is None in all processes but the first. If any process catches a signal, the
        measurement ends early in all of them, and the row is None.
        """
        agreed = False

        def follow(what: str, done: float, total: int) -> None:
            UNDER_WAY["what"] = f"measuring: {what}, {int(done):,} of {total:,}"
            if stop.caught:
                raise InterruptedError

        def wait() -> None:
            nonlocal agreed
            agreed = True
            if stop.number():
                raise InterruptedError

        share = Share(accelerator.process_index, accelerator.num_processes, wait)
        made = self.folder / ".evaluation"
        if not share.number:
            shutil.rmtree(made, ignore_errors=True)
        accelerator.wait_for_everyone()
        try:
            figures = self.job.distance(self.measure, made, share, follow)
        except InterruptedError:
            if not agreed:
                stop.number()
            return None, "stopped by a signal before the distance was measured"
        if share.number:
            return None, ""
        shutil.rmtree(made, ignore_errors=True)
        figure, state = figures[0], self.job.state
        images = state.step * self.job.experiment.train.batch
        row = {"step": state.step, "images": images, "figure": figure.row, "how": _how(config)}
        rivals = [r["figure"]["value"] for r in self.known.values() if _made(r) == _made(row)]
        self.known[state.step] = row
        note = f"{figure.name} {figure.value:.2f} ({figure.count:,} images)"
        if figure.value < min(rivals, default=float("inf")):
            best_folder = self.folder / "checkpoints" / BEST
            facts, more = self.job.finished()
            known = {**facts, "figure": figure.row}
            saving.save_average(state, best_folder, config, known, more)
            note += f", the best so far: {best_folder}"
        return row, note


def _how(config: dict[str, Any]) -> str:
    """Return a digest of the sampling settings; only figures with the same digest are compared.

    Version 4 of config.json has no ``sampler_options``. Empty options do not change the digest, so
    a run that began with version 4 can compare its new figures with its old ones.
    """
    sample = config.get("sample")
    if sample is not None:
        sample = {name: v for name, v in sample.items() if v or name != "sampler_options"}
    return hashlib.sha256(json.dumps(sample).encode()).hexdigest()[:8]


def _made(row: dict[str, Any]) -> tuple[Any, ...]:
    """Return a figure's name, number of samples and sampling settings.

    Two figures can be compared only if all three are equal.
    """
    return row["figure"]["name"], row["figure"]["samples"], row.get("how")
