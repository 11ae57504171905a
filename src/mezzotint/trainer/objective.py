"""The training objective of a diffusion model.

It is the mean squared error of the network's output, with a fixed or learned weight for each level.
If the network predicts variances, the variational bound is added. For a network that predicts
``p * x0 + q * eps``, let ``d = q * alpha - p * sigma``. Then an error o_err of the output
corresponds to an error x0_err of x0_hat: ``|o_err|^2 = (d / sigma)^2 |x0_err|^2``. For eps in
particular, ``|eps_err|^2 = SNR |x0_err|^2`` with ``SNR = alpha^2 / sigma^2``. So every weighting is
defined once, as a factor of ``|x0_err|^2``, for all prediction types.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mezzotint.diffusion.level import Level, Schedule
from mezzotint.diffusion.prediction import determinant, target, to_fraction, to_x0
from mezzotint.errors import Registry, UserError
from mezzotint.networks.conditions import Condition
from mezzotint.strict import Choice, strict
from mezzotint.trainer.levels import Adaptive, uniform
from mezzotint.trainer.loop import Examples, Task

if TYPE_CHECKING:
    from accelerate import Accelerator

WEIGHTINGS: Registry[Callable[[Tensor], Tensor] | None] = Registry(
    "weighting",
    {
        "simple": None,
        "min_snr": lambda snr: snr.clamp(max=5),
        "p2": lambda snr: snr / (1 + snr),
        "sigmoid": lambda snr: snr / (1 + math.e * snr),  # sigmoid(b - log SNR) without a log of 0
        "learned": None,
    },
)
"""w_x0 as a function of the SNR (B,), or None if the output's error has no weight; see `weight`."""
VLB = 0.001  # lambda in Nichol and Dhariwal's L_hybrid


def weight(kind: str, prediction: str, level: Level[Tensor]) -> Tensor:
    """Return the factor (B,) of each sample's mean squared error, ``w_x0 * (sigma / d)^2``.

    w_x0 is the weight of the squared error of x0_hat. That error is ``(sigma / d)^2`` times the
    squared error of the output, with ``d = q * alpha - p * sigma`` for a network that predicts
    ``p * x0 + q * eps``. The kinds and their w_x0:

    - simple: ``(d / sigma)^2``, so the factor is 1.
    - learned: the same as for simple; `Uncertainty` then balances the levels.
    - min_snr: ``min(SNR, 5)`` (Hang et al. 2023, arXiv 2303.09556).
    - p2: ``SNR / (1 + SNR)`` (Choi et al. 2022, arXiv 2204.00227, with k = gamma = 1).
    - sigmoid: ``SNR * sigmoid(b - log SNR)`` (Kingma and Gao 2023, arXiv 2303.00848; b is -1, as in
      Hoogeboom et al. 2024, arXiv 2410.19324).

    The last three are 0 where alpha is 0, so nothing is learned at a timestep of pure noise. This
    function weights timesteps, so the loss depends on the schedule. Kingma and Gao integrate over
    log SNR instead, so their loss does not depend on the schedule.

    Raises UserError if a weighting does not return one number for each SNR.
    """
    alpha, sigma = level.alpha.flatten(), level.sigma.flatten()
    snr = (alpha / sigma) ** 2
    of_x0 = WEIGHTINGS[kind]
    if of_x0 is None:
        return torch.ones_like(snr)
    d = determinant(prediction, Level(level.t, alpha, sigma))
    w = of_x0(snr)
    if w.shape != snr.shape:  # broadcasting would hide the mistake
        raise UserError(
            f"the weighting {kind!r} returns the shape {tuple(w.shape)}: make it return a number "
            f"for each SNR, {tuple(snr.shape)}"
        )
    return w * (sigma / d) ** 2


class Uncertainty(nn.Module):
    """``u(level)``, the logarithm of the expected loss at a level, which balances the levels.

    For the loss L, minimising ``L / exp(u) + u`` makes ``u = log E L`` at each level, so that the
    expectation of ``L / exp(u)`` is 1 at every level (Karras et al. 2024, arXiv 2312.02696, eqs. 14
    and 15). u is a linear function of 128 random Fourier features, without a bias and initially 0.
    The features are fixed functions of EDM's ``c_noise = ln(sigma / alpha) / 4``, clamped to [-5,
    5].
    """

    frequency: Tensor
    phase: Tensor

    def __init__(self, features: int = 128) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)  # leaves the global generator unchanged
        self.register_buffer("frequency", 2 * math.pi * torch.randn(features, generator=draw))
        self.register_buffer("phase", 2 * math.pi * torch.rand(features, generator=draw))
        self.weight = nn.Parameter(torch.zeros(features))

    def forward(self, level: Level[Tensor]) -> Tensor:
        """Return u (B,), the logarithm of the expected loss, at each level of a batch."""
        noise = (level.sigma / level.alpha).flatten().log().clamp(-20, 20) / 4
        features = math.sqrt(2) * torch.cos(noise[:, None] * self.frequency + self.phase)
        u: Tensor = features @ self.weight
        return u


def variational(
    schedule: Schedule, rows: Tensor, x0: Tensor, x0_hat: Tensor, fraction: Tensor
) -> Tensor:
    """Return L_{t-1} of the variational bound (B,) in bits per dimension, at timesteps (B,).

    Timesteps are 1 to T. From timestep t to s = t - 1, the true posterior q(x_s | x_t, x0) has the
    mean ``alpha_s x0 + sigma_s sqrt(1 - tau) eps`` and the variance ``sigma_s^2 tau``, with ``tau =
    1 - (alpha_t sigma_s / (alpha_s sigma_t))^2``. The model's Gaussian has the estimates x0_hat and
    eps_hat instead of x0 and eps, and ``log variance = v log(sigma_t^2 tau) + (1 - v) log(sigma_s^2
    tau)``, where v = ``fraction`` is predicted. The means differ by ``alpha_s tau (x0 - x0_hat)``,
    and L is the KL divergence of the two Gaussians. At timestep 1, L is the negative log likelihood
    of the 8-bit values of x0. There the lower bound ``sigma_s^2 tau`` of the variance is 0, so the
    bound of timestep 2 is used instead (Nichol and Dhariwal 2021, arXiv 2102.09672, eqs. 4 to 7 and
    15).

    x0, x0_hat and v are (B, C, H, W). Only v gets a gradient; x0_hat is learned from the mean
    squared error. The schedule needs two timesteps or more.
    """
    alpha, sigma, x0_hat = schedule.alpha, schedule.sigma, x0_hat.detach()
    shape = (-1, *[1] * (x0.ndim - 1))

    def tau(t: Tensor) -> Tensor:
        return 1 - (alpha[t] * sigma[t - 1] / (alpha[t - 1] * sigma[t])) ** 2

    # In float64, like the tables: near pure noise float32 cannot separate the two bounds.
    second = rows.clamp(min=2)
    low = (sigma[second - 1] ** 2 * tau(second)).log()
    width = (sigma[rows] ** 2 * tau(rows)).log() - low
    apart = alpha[rows - 1] * tau(rows)
    low, width, apart = (table.to(x0.dtype).view(shape) for table in (low, width, apart))

    log_variance = low + fraction * width
    distance = (apart * (x0 - x0_hat)) ** 2
    gap = -fraction * width
    divergence = (torch.expm1(gap) - gap + distance * (-log_variance).exp()) / 2
    first = (rows == 1).view(shape)
    nats = torch.where(first, -log_likelihood(x0, x0_hat, log_variance), divergence)
    return nats.flatten(1).mean(1) / math.log(2)


def log_likelihood(x0: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return log P of 8-bit values ``x0 = k / 127.5 - 1`` under a discretised Gaussian, in nats.

    The probability of a value is the mass within 1/255 of it; the first and the last value also get
    all mass beyond them (Ho et al. 2020, arXiv 2006.11239, eq. 13). The result has the shape of x0.
    """
    dtype, far = x0.dtype, 1e3  # practically infinite, but with a gradient
    # torch computes log_ndtr's gradient as exp of a difference of z^2: in float32 it overflows.
    x0, mean, log_variance = x0.double(), mean.double(), log_variance.double()
    upper = torch.where(x0 > 0.999, far, x0 + 1 / 255) - mean
    lower = torch.where(x0 < -0.999, -far, x0 - 1 / 255) - mean
    # By symmetry, compute on the left of the mean, where both masses are small and their logarithms
    # are exact.
    flipped = lower > 0
    upper, lower = torch.where(flipped, -lower, upper), torch.where(flipped, -upper, lower)
    precision = (-log_variance / 2).exp()
    high: Tensor = torch.special.log_ndtr(upper * precision)
    low: Tensor = torch.special.log_ndtr(lower * precision)
    return (high + torch.log(-torch.expm1((low - high).clamp(max=-1e-9)))).to(dtype)


def _squared(output: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean squared error of each sample, (B,)."""
    return F.mse_loss(output, wanted, reduction="none").flatten(1).mean(1)


@strict
class ObjectiveConfig:
    """The objective of a diffusion model."""

    weighting: Annotated[str, Choice(WEIGHTINGS)] = "simple"
    """Weight of the loss at each noise level: simple is 1 at all levels, learned is learned in
    training, and the others depend on the SNR."""
    levels: Literal["uniform", "adaptive"] = "uniform"
    """How noise levels are chosen in training: all equally often, or more often where the loss is
    larger."""
    label_dropout: float = Field(default=0.1, ge=0, le=1)
    """Share of images that are trained without their condition, as classifier-free guidance needs.
    If there are several conditions, each is also dropped on its own with this probability."""
    contrast: float = Field(default=0.0, ge=0, lt=1)
    """Weight of contrastive flow matching, which keeps an output away from the target of another
    image: Stoica et al. (2025, arXiv 2506.05350) use 0.05, and 0 turns it off."""
    small_first: float = Field(default=0.0, ge=0, lt=1)
    """Share of the training, at its beginning, in which images have half their height and width.
    Such an image costs a quarter of the time."""


class Diffusion(Task):
    """The loss of a diffusion model, ``L = E w |net(alpha x0 + sigma eps, t) - (p x0 + q eps)|^2``.

    w is the weight of a level, and (p, q) are the two numbers of the prediction type. If
    ``learn_variance`` is set, the network's output is (prediction, 2 v - 1), with twice the
    channels of x0, and the loss is ``L + 0.001 L_vlb``; `variational` explains v. L_vlb is the
    variational bound, a sum over the T timesteps, estimated as T times the value at a random
    timestep. The loss is float32.

    If ``contrast`` is c, ``- c w |net(...) - (p x0' + q eps')|^2`` is added, where x0' and eps'
    belong to the previous image in the batch; for the first image, to the last. If a batch is
    computed in parts, each part counts as a batch. This term keeps images of different conditions
    apart (contrastive flow matching; Stoica et al. 2025, arXiv 2506.05350).

    The first ``small`` training images are halved in height and width, by averaging 2x2 pixels. The
    network must take images of both sizes.

    Args:
        config: The weighting, the choice of levels, the dropout of conditions and the contrast.
        schedule: The levels, on the device of the training.
        prediction: The prediction type of the network.
        shape: The shape (C, H, W) of the network's input for one image.
        conditions: The conditions of the network.
        learn_variance: Whether the network predicts variances.
        dtype: The type in which the network computes, by autocast.
        small: How many of the training's first images have half their height and width.
    """

    def __init__(
        self,
        config: ObjectiveConfig,
        schedule: Schedule,
        prediction: str,
        shape: tuple[int, ...],
        conditions: Sequence[Condition] = (),
        learn_variance: bool = False,
        dtype: torch.dtype = torch.float32,
        small: int = 0,
    ) -> None:
        super().__init__()
        self.config, self.prediction, self.shape = config, prediction, shape
        self.small = small
        self.conditions = tuple(conditions)
        self.schedule, self.learn_variance, self.dtype = schedule, learn_variance, dtype
        self.levels = Adaptive(len(schedule)) if config.levels == "adaptive" else None
        self.uncertainty = Uncertainty() if config.weighting == "learned" else None
        plain = config.weighting == "simple" and config.levels == "uniform"
        self.plain = plain and not learn_variance and not config.contrast
        self.seen: list[Tensor] = []

    def draw(self, batch: int, seen: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Draw timesteps (B,) from 1 to T, eps (B, C, H, W), and a mask of conditions to drop.

        For the first ``small`` images of the training, eps has half the height and width. The mask
        is bool (B, n), with a column for each condition. Some images lose all their conditions at
        once, as guidance needs; if there are several conditions, each is also dropped on its own.
        """
        shared: dict[str, Any] = {"generator": generator, "device": generator.device}
        if self.levels is None:
            rows = uniform(len(self.schedule), batch, generator)
        else:
            rows = self.levels.draw(batch, generator)
        c, h, w = self.shape
        sides = (h // 2, w // 2) if seen < self.small else (h, w)
        eps = torch.randn(batch, c, *sides, **shared)
        drop = torch.rand(batch, **shared)[:, None] < self.config.label_dropout
        if (count := len(self.conditions)) > 1:
            drop = drop | (torch.rand(batch, count, **shared) < self.config.label_dropout)
        return rows, eps, drop

    def forward(
        self, net: nn.Module, examples: Examples, *drawn: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a part of a batch, and named values for the log.

        ``drawn`` is the result of `draw`, cut to the images of this part.
        """
        rows, eps, dropped = drawn
        x0, condition = examples.x0, examples.condition
        condition = {
            each.name: each.dropped(condition[each.name], dropped[:, i])
            for i, each in enumerate(self.conditions)
        }
        if x0.shape != eps.shape:
            x0 = F.avg_pool2d(x0, 2)
        level = self.schedule.levels(rows, x0.ndim)
        numbers = examples.augmentation
        more = {} if numbers is None else {"augmentation": numbers}
        with self.autocast(x0.device):
            output = net(level.alpha * x0 + level.sigma * eps, level.t, condition or None, **more)
        loss, error = self.compare(output.float(), x0, eps, rows)
        return loss, {"loss": error}

    def compare(
        self, output: Tensor, x0: Tensor, eps: Tensor, rows: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the loss of a part of a batch, and the unweighted mean squared error.

        Both are corrected for the way in which the levels were drawn: they estimate means over
        uniformly drawn timesteps.
        """
        level = self.schedule.levels(rows, x0.ndim)
        wanted = target(self.prediction, x0, eps, level)
        if self.plain:  # one mean over all elements: older runs must resume to the bit
            error = F.mse_loss(output, wanted)
            return error, error.detach()

        u = torch.zeros(len(x0), device=x0.device)
        if self.learn_variance:
            output, raw = output.chunk(2, dim=1)
        factor = weight(self.config.weighting, self.prediction, level)
        errors = _squared(output, wanted)
        losses = factor * errors
        if self.uncertainty is not None:
            u = self.uncertainty(level)
            losses = losses / u.exp()
        if self.learn_variance:
            x0_hat = to_x0(self.prediction, output, level.alpha * x0 + level.sigma * eps, level)
            bits = variational(self.schedule, rows, x0, x0_hat, to_fraction(raw))
            losses = losses + VLB * len(self.schedule) * bits
        if self.config.contrast:
            other = target(self.prediction, x0.roll(1, 0), eps.roll(1, 0), level)
            apart = factor * _squared(output, other) / u.detach().exp()  # u follows the error alone
            losses = losses - self.config.contrast * apart
        importance = torch.ones_like(u)
        if self.levels is not None:
            importance = self.levels.weight(rows)
            self.seen.append(losses.detach())  # without u, which gives the network no gradient
        return (importance * (losses + u)).mean(), (importance * errors).mean().detach()

    def agree(self, accelerator: Accelerator, *drawn: Tensor) -> None:
        """Update the distribution of timesteps, if adaptive, with the losses of all processes."""
        super().agree(accelerator, *drawn)
        if self.levels is not None:
            self.levels.update(drawn[0], accelerator.gather(torch.cat(self.seen)))
            self.seen.clear()
