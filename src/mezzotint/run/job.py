"""The interface between a run and the model that it trains."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import torch
from PIL.Image import Image
from torch import Tensor

from mezzotint.config.experiment import Configuration
from mezzotint.data import Prepared, flip
from mezzotint.data.order import Rows
from mezzotint.devices import sent
from mezzotint.evaluation.measuring import Measure
from mezzotint.evaluation.samples import Follow
from mezzotint.metrics import Figure
from mezzotint.networks import Network
from mezzotint.networks.precision import compute_dtype
from mezzotint.processes import Share
from mezzotint.storage.arrays import nchw
from mezzotint.trainer import posthoc
from mezzotint.trainer.ema import averaged
from mezzotint.trainer.loop import Examples, Task, TrainConfig, optimizer
from mezzotint.trainer.state import TrainState

Tensors: TypeAlias = dict[str, dict[str, Tensor]]


class Job(ABC):
    """A diffusion model or an autoencoder in training, with its data and its state.

    ``facts`` describe the training set; every checkpoint stores them.
    """

    experiment: Configuration
    data: Prepared
    beginning: str = ""  # a description of the initial weights
    facts: dict[str, Any]
    state: TrainState

    @abstractmethod
    def batch(self, start: int, count: int, u: Tensor) -> Examples:
        """Return the training samples from index ``start`` on; see `trainer.loop.Batch`."""

    @abstractmethod
    def finished(self) -> tuple[dict[str, Any], Tensors]:
        """Return facts about the training set, and the tensors that a model needs besides weights.

        The tensors are grouped by the name of the file that stores them.
        """

    @abstractmethod
    def sheet(self, follow: Callable[[int, int], None]) -> Image:
        """Make images with the averaged weights, and return a sheet of them.

        In every call, a diffusion model starts from the same noise, and an autoencoder reconstructs
        the same images.
        """

    @abstractmethod
    def measure(self) -> Measure:
        """Return the feature network and the reference by which `distance` measures images."""

    @abstractmethod
    def distance(
        self, measure: Measure, folder: Path, share: Share, follow: Follow
    ) -> list[Figure]:
        """Measure images made with the averaged weights, and return the figures.

        The first figure is the Frechet distance. Only the first process returns figures; the other
        processes return an empty list. A diffusion model keeps its samples in ``folder`` until they
        are measured.
        """

    def divide(self, device: torch.device) -> None:
        """Divide the state among all processes, before the first step; see `TrainState.divide`."""
        config, state = self.experiment.train, self.state
        state.divide(lambda: optimizer(state.net, config, state.task), device)

    @property
    def dtype(self) -> torch.dtype:
        """The type in which the networks compute."""
        return compute_dtype(self.experiment.precision, self.device)

    @property
    def device(self) -> torch.device:
        return next(self.state.net.parameters()).device


def pixels(data: Prepared, index: Rows, mirrored: Tensor) -> Tensor:
    """Return the images at ``index``, (B, C, H, W) in [-1, 1], on the device of ``mirrored``.

    ``mirrored`` (B,) marks the images to mirror.
    """
    images = nchw(sent(torch.from_numpy(data.images[index]), mirrored.device))
    return flip(data.values.encode(images), mirrored)


def begin(config: TrainConfig, net: Network, task: Task, compiles: bool = True) -> TrainState:
    """Return the state before the first step.

    The network is compiled only if ``compiles`` is True and the whole training is long enough to
    repay the time of the compilation. The number of steps that are left does not count: a resumed
    training must make the same choice as an uninterrupted training, to end with the same result.
    Compilation comes first, because the averages of the weights and the moments of the optimizer
    copy the memory layout of the weights.
    """
    if compiles:
        net.compile_for(config.steps)
    ema = averaged(net, config.batch, config.ema_halflife)
    averages = posthoc.begin(net) if config.snapshots else {}
    return TrainState(net, ema, optimizer(net, config, task), task, averages)
