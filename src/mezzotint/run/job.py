"""What a run asks of what it trains."""

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
from mezzotint.evaluation.measuring import Measure
from mezzotint.evaluation.samples import Follow, Share
from mezzotint.metrics import Figure
from mezzotint.networks import Network
from mezzotint.networks.precision import compute_dtype
from mezzotint.pipeline.codec import Pixels
from mezzotint.storage.arrays import nchw
from mezzotint.trainer import posthoc
from mezzotint.trainer.ema import averaged
from mezzotint.trainer.loop import Examples, Task, TrainConfig, optimizer
from mezzotint.trainer.state import TrainState

Tensors: TypeAlias = dict[str, dict[str, Tensor]]


class Job(ABC):
    """A diffusion model or an autoencoder in training: its data, its state, how it is looked at.

    ``facts`` are what a model owes to its data, kept in each checkpoint.
    """

    experiment: Configuration
    data: Prepared
    facts: dict[str, Any]
    state: TrainState

    @abstractmethod
    def batch(self, start: int, count: int, u: Tensor) -> Examples:
        """The training samples from number ``start`` on, as `trainer.loop.Batch` has it."""

    @abstractmethod
    def finished(self) -> tuple[dict[str, Any], Tensors]:
        """The facts, and the tensors besides the averaged weights, of a model as it now is."""

    @abstractmethod
    def sheet(self, follow: Callable[[int, int], None]) -> Image:
        """What the averaged weights make, always of the same noise or images."""

    @abstractmethod
    def measure(self) -> Measure:
        """What `distance` is measured with."""

    @abstractmethod
    def distance(
        self, measure: Measure, folder: Path, share: Share, follow: Follow
    ) -> list[Figure]:
        """The Frechet distance of the averaged weights' images: in the first process alone.

        ``folder`` is for images on the way.
        """

    @property
    def dtype(self) -> torch.dtype:
        """What the networks compute in."""
        return compute_dtype(self.experiment.precision, self.device)

    @property
    def device(self) -> torch.device:
        return next(self.state.net.parameters()).device


def pixels(data: Prepared, index: Rows, mirrored: Tensor) -> Tensor:
    """The images of some rows in [-1, 1], (B, C, H, W), on the device of ``mirrored`` (B,)."""
    images = nchw(torch.from_numpy(data.images[index]).to(mirrored.device))
    return flip(Pixels().encode(images), mirrored)


def begin(config: TrainConfig, net: Network, task: Task) -> TrainState:
    """Before the first step: nothing is averaged yet, and nothing learned.

    The network is compiled where that pays: for all steps and not those that are left, since what
    is resumed is to be the same; and first, since averages and moments are laid out as it is.
    """
    net.compile_for(config.steps)
    ema = averaged(net, config.batch, config.ema_halflife)
    averages = posthoc.begin(net) if config.snapshots else {}
    return TrainState(net, ema, optimizer(net, config, task), task, averages)
