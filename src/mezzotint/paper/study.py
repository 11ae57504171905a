"""What tells schedules apart beside a FID: the error at each level, and the gradient's noise."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mezzotint import config as configuration
from mezzotint.config.experiment import Experiment
from mezzotint.diffusion.noise import noise
from mezzotint.errors import UserError
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.run.diffusion import DiffusionJob
from mezzotint.run.folder import check_data
from mezzotint.run.saving import restore
from mezzotint.storage import checkpoint
from mezzotint.trainer.loop import train

if TYPE_CHECKING:
    from accelerate import Accelerator


def errors_by_level(
    pipe: Pipeline,
    images: Tensor,
    labels: Sequence[int] | None = None,
    points: int = 20,
    seed: int = 0,
    batch: int = 64,
) -> list[tuple[float, float]]:
    """``(log SNR, E |eps_hat - eps|^2)`` at levels of a model's schedule, noisy to clean.

    ``log SNR = 2 ln(alpha / sigma)``, at ``points`` rows spread evenly from the first to the last,
    but for one of pure noise. The error is the mean over ``images`` uint8 (N, C, H, W) and their
    pixels, or latents, each at every level; unguided and unclipped. ``labels`` N integers; None is
    the null class.

    Whatever the network predicts, ``|eps_hat - eps|^2 = SNR |x0_hat - x0|^2``; and what the best
    x0_hat can be depends on the SNR alone, whatever schedule passes through it. So at the same SNR
    models of any prediction and schedule compare, and half the area under the curve is their part
    of the variational bound, in nats a dimension (Kingma et al. 2021, arXiv 2107.00630).

    The noise of picture i at point j follows from (seed, i, j), for all models the same. Raises
    UserError for more points than rows, and for labels that the model cannot follow.
    """
    levels = [level for level in pipe.schedule.grid(points, "linspace")[:-1] if level.alpha]
    every = None if labels is None else pipe.labels(len(images), labels)
    total = torch.zeros(len(levels), dtype=torch.float64)
    with torch.inference_mode():
        for start in range(0, len(images), batch):
            part = range(len(images))[start : start + batch]
            x0 = pipe.codec.encode(images[part.start : part.stop].to(pipe.device))
            cond = None if every is None else every[part.start : part.stop]
            denoise = pipe.denoiser(cond, clipping="none")
            for j, level in enumerate(levels):
                eps = noise(seed, [i * points + j for i in part])(x0)
                x0_hat = denoise(level.alpha * x0 + level.sigma * eps, level)
                error = (x0_hat - x0).square().flatten(1).mean(1).sum()
                total[j] += math.exp(2 * level.lam) * float(error)
    means: list[float] = (total / len(images)).tolist()
    return [(2 * level.lam, mean) for level, mean in zip(levels, means, strict=True)]


@dataclass(frozen=True)
class GradientNoise:
    """See `noise_scale`."""

    scale: float  # B, in images
    norm: float  # |G|


def noise_scale(gradients: Iterable[Tensor], batch: int) -> GradientNoise:
    """``B = tr(Sigma) / |G|^2``, in images, and |G|, of K gradients g_k of ``batch`` images each.

    G is the true gradient, and Sigma the covariance of a single image's: a batch of B images has
    as much noise as signal. Estimated without bias by
    ``tr(Sigma) = batch / (K - 1) sum_k |g_k - mean|^2`` and
    ``|G|^2 = |mean|^2 - tr(Sigma) / (batch K)`` (McCandlish et al. 2018, arXiv 1812.06162; their
    appendix A.1 compares two sizes of batch instead). Where the latter is not above 0, the noise
    hides the signal: B is infinite and |G| 0. Raises UserError for fewer than 2 gradients.
    """
    mean, apart, count = torch.zeros(()), 0.0, 0
    for count, gradient in enumerate(gradients, 1):
        before = gradient - mean  # Welford's: no more than two gradients are held at a time
        mean = mean + before / count
        apart += float((before * (gradient - mean)).sum())
    if count < 2:
        raise UserError(f"{count} batches do not show a gradient's noise: take 2 or more")
    trace = batch * apart / (count - 1)
    square = float(mean.square().sum()) - trace / (batch * count)
    if not square > 0:
        return GradientNoise(math.inf, 0.0)
    return GradientNoise(trace / square, math.sqrt(square))


def gradient_noise(folder: Path, batches: int = 16) -> GradientNoise:
    """The `noise_scale` of a run's own objective, at the weights of its newest checkpoint.

    Not the averaged ones. Of the ``batches`` that its training would go on with: data, levels,
    adaptive ones too, dropout and precision are the training's. The folder is left as it is. Raises
    UserError for what is no run of a diffusion model or has no checkpoint, and for changed data.
    """
    config = configuration.read(folder / "config.json")
    if not isinstance(config, Experiment):
        raise UserError(f"{folder} is an autoencoder: give a run of a diffusion model")
    found = checkpoint.newest(folder / "checkpoints", warnings.warn)
    if found is None:
        raise UserError(f"{folder} has no checkpoint yet: train it on with --resume")
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision="no")
    job = DiffusionJob(config, accelerator.device, found)
    check_data(found, job.facts)
    restore(job.state, found)
    return noise_scale(gradients(job, accelerator, batches), config.train.batch)


def gradients(job: DiffusionJob, accelerator: Accelerator, batches: int) -> Iterator[Tensor]:
    """The gradients of a job's next ``batches`` steps were none of them taken: flat float32.

    What the job learns beside the network, adaptive levels' statistics, goes on as in training.
    """
    state, config = job.state, job.experiment.train
    more = (state.step + batches) * config.batch
    config = replace(config, images=more, clip=1e30)  # the gradient as it is
    still = Still(state.net.parameters())
    net = accelerator.prepare(state.net)
    parts = net, state.ema, still, state.task, job.batch, config, state.step
    for _ in train(accelerator, *parts):
        yield still.gradient


class Still(torch.optim.Optimizer):
    """Leaves the weights where they are, and keeps the gradient of the last step."""

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        super().__init__(parameters, {})
        self.gradient = torch.empty(0)

    def step(self) -> None:  # type: ignore[override]
        given = (p.grad for group in self.param_groups for p in group["params"])
        self.gradient = torch.cat([g.flatten().float() for g in given if g is not None])
