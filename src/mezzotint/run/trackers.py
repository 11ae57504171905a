"""Copies of a run's log in trackers: Weights & Biases, TensorBoard.

All that is copied is also in the run's folder, most of it in ``log.jsonl``. A copy follows the log:
after a crash the resumed run sends the rows that the tracker lacks, and sends no row twice.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Generator
from importlib import import_module
from operator import itemgetter
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
from PIL import Image

from mezzotint.errors import UserError, warn
from mezzotint.storage import jsonl
from mezzotint.storage.files import replace
from mezzotint.storage.log import read
from mezzotint.storage.parse import parsed

T = TypeVar("T")
Values: TypeAlias = dict[str, float | Path]  # the points of curves by name, and the files of grids


class Tracker(Protocol):
    """A service to which the log and the image grids of a run are copied.

    If it raises an exception, the copying ends, but the training continues.
    """

    def begin(self, folder: Path, run_id: str, config: dict[str, Any], sent: int) -> int:
        """Begin or continue the copy of a run's log and image grids.

        The rows that `log` adds are counted from 1. ``sent`` is the number of the first row not yet
        sent. Returns the number of the first row that the tracker lacks. It is below ``sent`` if
        some of the sent rows did not arrive, and 0 or 1 if the tracker has no rows.
        """

    def log(self, number: int, images: int, values: Values) -> None:
        """Add row ``number``, counted from 1, with the values after ``images`` training images."""

    def end(self, report: Path | None) -> None:
        """Send the report, if there is one, and wait until everything has arrived."""


class WeightsAndBiases:
    """A run of Weights & Biases. Without a login, it stays offline in the run's folder."""

    def __init__(self) -> None:
        self.wandb = _package("wandb", "wandb")

    def begin(self, folder: Path, run_id: str, config: dict[str, Any], sent: int) -> int:
        self.wandb.setup(self.wandb.Settings(silent=True))
        try:
            online, why = bool(self.wandb.login(prompt=False)), "no login"
        except (Exception, SystemExit) as error:  # the login is refused, or there is no network
            online, why = False, _line(error)
        if not online:
            # W&B would replace the first part of a run by the second, so each part has all rows.
            for part in folder.glob(f"wandb/offline-run-*-{run_id}"):
                shutil.rmtree(part)
            warn(
                f"W&B works offline ({why}): to send the run later, use `wandb sync "
                f"{folder}/wandb/offline-run-*-{run_id}`"
            )
        self.run = self.wandb.init(
            project=os.environ.get("WANDB_PROJECT", "mezzotint"),
            name=folder.resolve().name,
            id=run_id,
            dir=str(folder),
            mode="online" if online else "offline",
            resume="allow" if online else None,
            settings=self.wandb.Settings(console="off", finish_timeout=300),
        )
        # The configuration may change on resuming.
        self.run.config.update(config, allow_val_change=True)
        self.run.define_metric("*", step_metric="images")
        # 0 if offline, else the number of the first row that the server lacks.
        return int(self.run.starting_step)

    def log(self, number: int, images: int, values: Values) -> None:
        ready = {
            name: self.wandb.Image(str(value)) if isinstance(value, Path) else value
            for name, value in values.items()
        }
        # The images seen are not the step, because a figure may come late, and W&B drops rows whose
        # step does not rise.
        self.run.log({"images": images, **ready}, step=number)

    def end(self, report: Path | None) -> None:
        if report:
            artifact = self.wandb.Artifact(f"report-{self.run.id}", type="report")
            artifact.add_file(str(report))
            self.run.log_artifact(artifact)
        self.run.finish()


class TensorBoard:
    """A tracker that writes to ``RUN/tensorboard``; the step is the number of images seen."""

    def __init__(self) -> None:
        self.writer_of = _package("torch.utils.tensorboard", "tensorboard").SummaryWriter

    def begin(self, folder: Path, run_id: str, config: dict[str, Any], sent: int) -> int:
        self.writer = self.writer_of(str(folder / "tensorboard"))
        self.writer.add_text("config", f"```\n{json.dumps(config, indent=1)}\n```")
        return sent

    def log(self, number: int, images: int, values: Values) -> None:
        for name, value in values.items():
            if isinstance(value, Path):
                with Image.open(value, formats=["PNG"]) as image:
                    pixels = np.asarray(image.convert("RGB"))
                self.writer.add_image(name, pixels, images, dataformats="HWC")
            else:
                self.writer.add_scalar(name, value, images)
        self.writer.flush()  # so that the row survives a crash

    def end(self, report: Path | None) -> None:
        self.writer.close()


TRACKERS: dict[str, Callable[[], Tracker]] = {
    "wandb": WeightsAndBiases,
    "tensorboard": TensorBoard,
}


class Copy:
    """The copy of a run's log in one tracker.

    The file ``RUN/NAME.jsonl``, where NAME is the tracker's name, begins with the id of the run in
    the tracker. Each further line is for a log row or an image grid that was sent: the number of
    images seen, and the names of the tracker's curves that got a value.
    """

    def __init__(self, folder: Path, name: str) -> None:
        """Set up the tracker ``name``. Raises UserError if its package is missing.

        If the package is installed but cannot be imported, a warning is given, and the log is not
        copied.
        """
        self.folder, self.name = folder, name
        self.log, self.grids = folder / "log.jsonl", folder / "samples"
        self.ends: dict[str, int] = {}  # the last sent point of each curve, in images
        self.sent: Path | None = None  # the file, after it is begun
        self.number = 1
        self.seen: tuple[int, int] | None = None
        self.read = 0  # position in the log, in bytes
        self.failed = False
        try:
            self.tracker = TRACKERS[name]()
        except UserError:
            raise
        except (Exception, SystemExit) as error:
            self._off(error)

    def follow(self, steps: Generator[T, None, None]) -> Generator[T, None, None]:
        """Yield the values of ``steps``, and send new log rows and image grids to the tracker."""
        yield next(steps)  # by now the arguments are checked and the folder is locked
        try:
            for now in steps:
                self._try(self._catch_up)
                yield now
            self._try(self._catch_up)
        finally:
            steps.close()
            if self.sent:
                self._try(self._end)

    def _try(self, act: Callable[[], None]) -> None:
        if self.failed:
            return
        try:
            act()
        except (Exception, SystemExit) as error:
            self._off(error)

    def _off(self, error: BaseException) -> None:
        self.failed = True
        warn(
            f"tracking with {self.name} failed and is now off ({_line(error)}): the training "
            f"continues, and {self.log} has the whole log"
        )

    def _begin(self) -> Path:
        path = self.folder / f"{self.name}.jsonl"
        rows = jsonl.read(path)
        if not rows or not isinstance(rows[0].get("id"), str):
            rows = [{"step": 0, "id": secrets.token_hex(4)}]
        rows = [rows[0], *filter(_is_sent, rows[1:])]
        config = parsed((self.folder / "config.json").read_bytes())
        arrived = self.tracker.begin(self.folder, rows[0]["id"], config, len(rows))
        for row in rows[1:arrived]:
            self.ends |= dict.fromkeys(row["curves"], row["images"])
            self.number += 1
        replace(path, "".join(json.dumps(row) + "\n" for row in rows[: max(1, arrived)]))
        return path

    def _catch_up(self) -> None:
        """Send new rows of the log and new image grids, in the order of training."""
        self.sent = self.sent or self._begin()
        size = self.log.stat().st_size if self.log.exists() else 0
        seen = size, self.grids.stat().st_mtime_ns if self.grids.exists() else 0
        if seen == self.seen:
            return
        rows = read(self.log, self.read)
        events: list[tuple[int, Values]] = [(row["images"], _curves(row)) for row in rows]
        grids = [path for path in self.grids.glob("*.png") if path.stem.isdecimal()]
        events += [(int(path.stem), {"samples": path}) for path in grids]
        for images, values in sorted(events, key=itemgetter(0)):
            new = {name: v for name, v in values.items() if images > self.ends.get(name, -1)}
            if new:
                self.tracker.log(self.number, images, new)
                jsonl.append(
                    self.sent, {"step": self.number, "images": images, "curves": list(new)}
                )
                self.number += 1
                self.ends |= dict.fromkeys(new, images)
        self.seen, self.read = seen, size

    def _end(self) -> None:
        report = self.folder / "report.html"
        self.tracker.end(report if report.exists() else None)


def _is_sent(row: dict[str, Any]) -> bool:
    """Return whether a line of a `Copy`'s file has the fields ``curves`` and ``images``."""
    curves = row.get("curves")
    named = isinstance(curves, list) and all(isinstance(name, str) for name in curves)
    return named and type(row.get("images")) is int


def _curves(row: dict[str, Any]) -> Values:
    """Return a log row's values by curve; a metric has the curves NAME, NAME_low and NAME_high."""
    numbers: Values = {k: v for k, v in row.items() if isinstance(v, int | float) and k != "images"}
    if figure := row.get("figure"):
        name = figure["name"]
        ends = {f"{name}_{end}": figure[end] for end in ("low", "high")}
        numbers |= {name: figure["value"], **ends}
    return numbers


def _package(module: str, extra: str) -> ModuleType:
    try:
        return import_module(module)  # imported late, because it takes a second
    except ModuleNotFoundError:
        raise UserError(
            f"tracking with {extra} needs its package: run pip install 'mezzotint[{extra}]'"
        ) from None


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
