"""Estimate how long a network's training and sampling take, by timing a few steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import nn

from mezzotint.config.experiment import Autoencoder, Configuration, Experiment
from mezzotint.metrics import perceptual
from mezzotint.networks import VAE, Network
from mezzotint.networks.conditions import every
from mezzotint.networks.precision import compute_dtype
from mezzotint.paper.plan import Row
from mezzotint.run.group import joined
from mezzotint.run.job import begin
from mezzotint.storage.machine import seconds_of
from mezzotint.trainer.autoencoding import Autoencoding
from mezzotint.trainer.loop import Examples, Task, train
from mezzotint.trainer.objective import Diffusion, ObjectiveConfig

BATCH = 64  # samples made at once
STEPS = 6  # timed steps of a training


@dataclass(frozen=True)
class Cost:
    """The estimated seconds to train a network, and to call the network, on this machine."""

    training: float  # for the whole training
    call: float  # for one call with BATCH images

    def samples(self, row: Row, batches: int) -> float:
        """Return the seconds to make batches of BATCH samples; guidance doubles the calls."""
        guided = row.settings.guidance not in (0, 1)
        return batches * row.settings.calls * self.call * (1 + guided)


def cost(configuration: Configuration, shape: tuple[int, ...], classes: int) -> Cost:
    """Estimate the time of a training and of a network call, from a few steps on random inputs.

    ``shape`` (C, H, W) is the shape of an input.
    """
    accelerator = joined()
    dtype = compute_dtype(configuration.precision, accelerator.device)
    net: Network
    task: Task
    if isinstance(configuration, Experiment):
        net = configuration.network(shape[0], classes)
        schedule = configuration.noise.build().to(accelerator.device)
        objective, prediction = configuration.objective, configuration.noise.prediction
        assert isinstance(objective, ObjectiveConfig)
        task = Diffusion(objective, schedule, prediction, shape, every(classes), dtype=dtype)
    else:
        net = VAE(configuration.net, shape[0])
        task = _autoencoding(configuration, shape, net, dtype, accelerator.device)
    net, task = net.to(accelerator.device), task.to(accelerator.device)
    config = configuration.train

    def batch(start: int, count: int, u: torch.Tensor) -> Examples:
        condition = {each.name: each.some(count).to(u.device) for each in every(classes)}
        return Examples(torch.randn(count, *shape, device=u.device), condition)

    short = replace(config, images=STEPS * config.batch)
    state = begin(short, net, task)
    steps = train(
        *(accelerator, accelerator.prepare(net), state.ema, state.optimizer, task, batch, short)
    )
    step = seconds_of(lambda: next(steps))
    call = 0.0
    if isinstance(configuration, Experiment):
        ready = net.eval().for_inference(dtype)
        x = torch.randn(BATCH, *shape, device=accelerator.device)
        t = torch.zeros(BATCH, device=accelerator.device)
        with torch.inference_mode():
            call = seconds_of(lambda: ready(x, t, t.long() if classes else None))
    return Cost(config.steps * step, call)


def _autoencoding(
    configuration: Autoencoder,
    shape: tuple[int, ...],
    net: VAE,
    dtype: torch.dtype,
    device: torch.device,
) -> Task:
    """Return the training objective of an autoencoder."""
    loss, factor = configuration.loss, configuration.net.factor
    latent = configuration.net.latent, shape[1] // factor, shape[2] // factor
    look = perceptual(loss.perceptual_network, device) if loss.perceptual else None
    return Autoencoding(
        *(loss, latent, cast(nn.Conv2d, net.decoder[-1]).weight, look, shape[0], dtype)
    )
