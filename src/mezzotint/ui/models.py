"""The models that the page offers, each loaded when it is chosen."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from mezzotint.errors import UserError, counted
from mezzotint.pipeline import loading, shipped
from mezzotint.pipeline.pipeline import Pipeline

RUNS = Path("runs")  # where `train` writes by default
OWN = "the model in memory"
KEPT = 2  # the largest number of models in memory


@dataclass(frozen=True)
class Models:
    """The models that the page offers, by name. The first model is loaded at the start.

    Attributes:
        names: Paths and names that `mz.load` accepts, and `OWN` if there is a model in memory.
        own: The model in memory, if there is one.
    """

    names: tuple[str, ...]
    own: Pipeline | None = None
    _loaded: dict[str, Pipeline] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def load(self, name: str) -> Pipeline:
        """Return a model by name. Raises UserError if it is not in ``names`` or cannot be read."""
        if name not in self.names:
            raise UserError(
                f"there is no model {name!r} on this page: choose {', '.join(self.names)}"
            )
        if name == OWN and self.own is not None:
            return self.own
        with self._lock:
            if name not in self._loaded:
                for old in list(self._loaded)[: len(self._loaded) - KEPT + 1]:
                    del self._loaded[old]
                self._loaded[name] = loading.load(name)
            return self._loaded[name]

    def called(self, name: str) -> str | None:
        """Return the name or path of a model for `mz.load`; None if it is only in memory."""
        return None if name == OWN else name


def offered(model: Pipeline | str | Path | None, runs: Path = RUNS) -> Models:
    """Return the models to offer: the given model, the shipped models, and the runs in ``runs/``.

    Raises:
        UserError: If the given model cannot be read, or there are no models.
    """
    found = [str(folder) for folder in sorted(runs.glob("*/")) if _makes_images(folder)]
    names = [*shipped.names(), *found]
    if isinstance(model, Pipeline):
        return Models((OWN, *names), model)
    if model is not None:
        names = [str(model).rstrip("/"), *names]
    if not names:
        raise UserError(f"there is no model in the package or in {runs}: give the path of a model")
    models = Models(tuple(dict.fromkeys(names)))
    models.load(models.names[0])
    return models


def about(pipe: Pipeline) -> str:
    """Describe a model in one line: its image size, classes, conditions and number of weights."""
    height, width = pipe.size
    weights = sum(weight.numel() for weight in pipe.net.parameters())
    classes = counted(len(pipe.classes), "class", "classes") if pipe.classes else "no classes"
    more = [*map(str, pipe.conditions), *([str(pipe.few_step)] if pipe.few_step else [])]
    return "; ".join([f"{height}x{width} pixels, {classes}, {weights / 1e6:.1f}M weights", *more])


def _makes_images(folder: Path) -> bool:
    checkpoints = folder / "checkpoints"
    return (
        checkpoints.is_dir() and any(checkpoints.iterdir()) and not loading.is_autoencoder(folder)
    )
