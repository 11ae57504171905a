"""Compare schedules without FID: by errors at several noise levels, and by gradient noise."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mezzotint import config as configuration
from mezzotint import devices
from mezzotint.config.experiment import Experiment
from mezzotint.data import held_out
from mezzotint.diffusion.noise import noise
from mezzotint.errors import UserError, counted, warn
from mezzotint.evaluation.samples import Follow
from mezzotint.paper.models import kept, trained
from mezzotint.paper.work import PIXELS, Work
from mezzotint.pipeline import loading
from mezzotint.pipeline.pipeline import Pipeline
from mezzotint.run.diffusion import DiffusionJob
from mezzotint.run.folder import check_data
from mezzotint.run.group import joined
from mezzotint.run.saving import restore
from mezzotint.storage import checkpoint, jsonl
from mezzotint.storage.arrays import nchw
from mezzotint.trainer.loop import train

if TYPE_CHECKING:
    from accelerate import Accelerator

HELD_OUT = 512  # held-out images for the errors


def compare_schedules(work: Work, follow: Follow) -> dict[str, dict[str, Any]]:
    """Measure each pixel model: its errors at several noise levels, and its gradient noise.

    The errors are measured on held-out images, or on training images if none are held out. Results
    are appended to study.jsonl, and are not measured again.

    Returns:
        The row of study.jsonl for each model, by the model's name; {} if there are fewer than two
        pixel models.
    """
    names = [name for name in PIXELS if name in work.models]
    if len(names) < 2:
        return {}
    known = {row["model"]: row for row in kept(work, "study.jsonl")}
    for i, name in enumerate(names):
        if name not in known:
            follow(f"study of {name}", i, len(names))
            known[name] = _studied(work, name)
            jsonl.append(work.plan.folder / "study.jsonl", known[name])
    follow("study", len(names), len(names))
    return {name: known[name] for name in names}


def _studied(work: Work, name: str) -> dict[str, Any]:
    """Measure one model, and return its row for study.jsonl."""
    folder = work.folder(name)
    pipe = loading.load(folder, precision="float32")
    others = held_out(work.data[name])
    images = others.some(HELD_OUT)
    labels = images.labels.tolist() if pipe.classes else None
    found = gradient_noise(folder)
    return {
        **trained(work, name),
        "errors": errors_by_level(pipe, nchw(images.images), labels, seed=work.plan.seed),
        "held_out": others is not work.data[name],
        "noise_scale": found.scale if math.isfinite(found.scale) else None,
        "gradient": found.norm,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def errors_by_level(
    pipe: Pipeline,
    images: Tensor,
    labels: Sequence[int] | None = None,
    points: int = 20,
    seed: int = 0,
    batch: int = 64,
) -> list[tuple[float, float]]:
    """Return ``(log SNR, E |eps_hat - eps|^2)`` at noise levels of a schedule, from noisy to clean.

    ``log SNR = 2 ln(alpha / sigma)``. For every prediction type, ``|eps_hat - eps|^2 = SNR |x0_hat
    - x0|^2``, and the best possible x0_hat depends on the SNR alone, not on the schedule. So models
    with different predictions and schedules can be compared at the same SNR. Half the area under
    the curve is the diffusion term of the variational bound, in nats per dimension (Kingma et al.
    2021, arXiv 2107.00630).

    Args:
        pipe: The model, used without guidance or clipping.
        images: uint8 (N, C, H, W); each is used at every noise level. The error is a mean over the
            images and over their pixels or latents.
        labels: N class indices; None is the null class.
        points: The number of noise levels, which are evenly spaced timesteps of the schedule.
            Levels of pure noise are left out.
        seed: The noise of image i at point j depends on (seed, i, j), and is the same for all
            models.
        batch: The number of images denoised at once. It does not change the result.

    Raises:
        UserError: If there are fewer timesteps than ``points``, or ``labels`` has an unknown class
            or the wrong length.
    """
    levels = [level for level in pipe.schedule.grid(points, "linspace")[:-1] if level.alpha]
    every = None if labels is None else pipe.labels(len(images), labels)
    total = torch.zeros(len(levels), dtype=torch.float64)
    with torch.inference_mode():
        for start in range(0, len(images), batch):
            part = range(len(images))[start : start + batch]
            x0 = pipe.codec.encode(devices.sent(images[part.start : part.stop], pipe.device))
            cond = None if every is None else every[part.start : part.stop]
            denoise = pipe.denoiser(cond, clipping="none")
            errors: list[Tensor] = []
            for j, level in enumerate(levels):
                eps = noise(seed, [i * points + j for i in part])(x0)
                x0_hat = denoise(level.alpha * x0 + level.sigma * eps, level)
                errors.append((x0_hat - x0).square().flatten(1).mean(1).sum())
            total += torch.stack(errors).cpu().double()
    weights = torch.tensor([math.exp(2 * level.lam) for level in levels], dtype=torch.float64)
    means: list[float] = (weights * total / len(images)).tolist()
    return [(2 * level.lam, mean) for level, mean in zip(levels, means, strict=True)]


@dataclass(frozen=True)
class GradientNoise:
    """The noise scale of a gradient, and the norm of the gradient without noise.

    See the function `noise_scale`.
    """

    scale: float  # B, in images
    norm: float  # |G|


def noise_scale(gradients: Iterable[Tensor], batch: int) -> GradientNoise:
    """Return estimates of ``B = tr(Sigma) / |G|^2``, in images, and of |G|, from K gradients g_k.

    Each gradient comes from ``batch`` images. G is the true gradient, and Sigma the covariance of
    the gradient of a single image. In a batch of B images, the noise is as large as the signal. The
    estimates ``tr(Sigma) = batch / (K - 1) sum_k |g_k - mean|^2`` and ``|G|^2 = |mean|^2 -
    tr(Sigma) / (batch K)`` are unbiased (McCandlish et al. 2018, arXiv 1812.06162; their appendix
    A.1 compares two batch sizes instead). If the estimate of |G|^2 is not above 0, the noise hides
    the signal: B is infinite and |G| is 0. Raises UserError for fewer than 2 gradients.
    """
    mean, apart, count = torch.zeros(()), 0.0, 0
    for count, gradient in enumerate(gradients, 1):
        before = gradient - mean  # Welford's method holds only two gradients at a time
        mean = mean + before / count
        apart += float((before * (gradient - mean)).sum())
    if count < 2:
        batches = counted(count, "batch", "batches")
        raise UserError(f"gradient noise cannot be measured on {batches}: give 2 batches or more")
    trace = batch * apart / (count - 1)
    square = float(mean.square().sum()) - trace / (batch * count)
    if not square > 0:
        return GradientNoise(math.inf, 0.0)
    return GradientNoise(trace / square, math.sqrt(square))


def gradient_noise(folder: Path, batches: int = 16) -> GradientNoise:
    """Return the `noise_scale` of a run's objective at its newest weights, not at their EMA.

    The scale is measured on the next ``batches`` batches of the training, with the training's data,
    noise levels, dropout and precision. The folder is not changed. Raises UserError if the folder
    is not a run of a diffusion model, has no checkpoint, or its data has changed.
    """
    config = configuration.read(folder / "config.json")
    if not isinstance(config, Experiment):
        raise UserError(f"{folder} is an autoencoder: give a run of a diffusion model")
    found = checkpoint.newest(folder / "checkpoints", warn)
    if found is None:
        raise UserError(f"{folder} has no checkpoint yet: continue its training with `resume=True`")
    accelerator = joined()
    job = DiffusionJob(config, accelerator.device, found)
    check_data(found, job.facts, job.data)
    restore(job.state, found)
    return noise_scale(gradients(job, accelerator, batches), config.train.batch)


def gradients(job: DiffusionJob, accelerator: Accelerator, batches: int) -> Iterator[Tensor]:
    """Yield the gradients of a training's next ``batches`` steps; leave the weights unchanged.

    Each gradient is one flat float32 tensor, with a value for each weight. If the training draws
    its noise levels adaptively, their probabilities are still updated, as in training.
    """
    state, config = job.state, job.experiment.train
    more = (state.step + batches) * config.batch
    config = replace(config, images=more, clip=1e30)  # the gradient without clipping
    still = Still(state.net.parameters())
    net = accelerator.prepare(state.net)
    parts = net, state.ema, still, state.task, job.batch, config, state.step
    for _ in train(accelerator, *parts):
        yield still.gradient


class Still(torch.optim.Optimizer):
    """An optimizer that leaves the weights unchanged and keeps the gradient of the last step."""

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        super().__init__(parameters, {})
        self.gradient = torch.empty(0)

    def step(self) -> None:  # type: ignore[override]
        given = (p.grad for group in self.param_groups for p in group["params"])
        self.gradient = torch.cat([g.flatten().float() for g in given if g is not None])
